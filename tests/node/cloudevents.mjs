import { readFileSync } from 'node:fs';
import { HTTP } from 'cloudevents';
const read = ({ headers, body }) => { const event = HTTP.toEvent({ headers, body }); event.validate(); return event; };
console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(read)));
