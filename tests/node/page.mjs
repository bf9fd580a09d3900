// Looks at the status page as people do: with a keyboard, on a narrow screen, in the dark, without scripts, and with axe's eyes.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { url, token, program, folder } = JSON.parse(readFileSync(0, "utf8"));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
const said = { complaints: [], findings: [], wide: [] };

async function visit(options) {
  const { clock, ...looks } = options;
  const context = await browser.newContext(looks);
  const page = await context.newPage();
  if (clock) await page.clock.install(); // it goes on by itself, and can be set forward
  page.on("console", (message) => { if (message.type() === "error") said.complaints.push(message.text()); });
  page.on("pageerror", (error) => said.complaints.push(String(error)));
  page.on("request", (request) => { if (!request.url().startsWith(url)) said.complaints.push(`asks ${request.url()}`); });
  await page.goto(url);
  return page;
}

async function logIn(page) {
  await page.keyboard.press("Tab"); // the way past the navigation
  for (let presses = 0; presses < 9 && (await page.evaluate(() => document.activeElement.id)) !== "token"; presses++) await page.keyboard.press("Tab");
  await page.keyboard.type(token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#sources");
}

// 1. Every page, in each look: nothing serious by axe, nothing wider than the screen.
for (const [name, options] of Object.entries({
  light: { viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  narrow: { viewport: { width: 320, height: 640 }, colorScheme: "light" },
})) {
  const page = await visit({ ...options, bypassCSP: true });
  for (const path of ["/login", "/", "/sources/pbx-0003", "/journey?id=1700000000.7", "/dead-letters", "/dead-letters/a/b"]) {
    if (path === "/") await logIn(page); else await page.goto(url + path);
    if (path.startsWith("/journey")) await page.click("summary");
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    for (const one of found.violations) said.findings.push(`${name} ${path}: ${one.impact} ${one.id}: ${one.nodes[0].html.slice(0, 120)}`);
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) said.wide.push(`${name} ${path}`);
    await page.screenshot({ path: `${folder}/${name}${path.replaceAll(/[^a-z0-9-]/g, "_")}.png` });
  }
  await page.context().close();
}

// 2. Live, under the page's own rules: what changes on the other side is shown without a reload.
const live = await visit({ viewport: { width: 1280, height: 900 }, clock: true });
await logIn(live);
said.before = await live.textContent("h1");
await live.evaluate(() => { window.sameDocument = true; });
const away = (route) => route.fulfill({ status: 409, contentType: "text/html", body: '<main id="main"><h1>That did not work</h1></main>' });
await live.route(`${url}/`, away); // the store is away for a moment: what was known stays, and it goes on by itself
for (let looks = 0; looks < 600 && !(await live.title()).startsWith("No answer"); looks++) await live.clock.runFor(1000);
said.meanwhile = [await live.title(), await live.textContent("h1")];
await live.unroute(`${url}/`, away);
said.complaints = said.complaints.filter((text) => !text.includes("409"));
await live.evaluate(() => fetch("/webhooks/disable", { method: "POST", body: "sink=everything" })); // all are behind from now on
await live.clock.runFor(10000);
await live.locator("h1", { hasText: "7 of 7" }).waitFor({ timeout: 120000 });
said.after = await live.textContent("h1");
said.same = await live.evaluate(() => window.sameDocument === true);
await live.click("text=Enable crm");
said.pressed = await live.textContent("h1");

// 3. Without scripts it is all there.
const plain = await visit({ javaScriptEnabled: false });
await plain.fill("#token", token);
await plain.click("main button");
said.plain = await plain.textContent("h1");
await plain.fill("#id", "1700000000.7");
await plain.press("#id", "Enter");
said.journey = await plain.textContent("h1");
await plain.click("nav a.home");
await plain.click('a:has-text("pbx-0001") >> nth=0');
said.source = await plain.textContent("h1");
await browser.close();
console.log(JSON.stringify(said));
