import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify({ accepted: document !== undefined, messages: document?.allMessages().map(m => m.id()) ?? [], diagnostics: diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join('.'), severity })) }));
