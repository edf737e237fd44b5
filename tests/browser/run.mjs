// The pages in a real browser, over the built program.
//
//   SHIRABE_BIN=target/debug/shirabe node tests/browser/run.mjs
//
// SHIRABE_SHOTS=DIR keeps pictures of what was seen. Every page of every test is watched: a
// violation of the content policy, an error on the console, a script that fails, or a page that is
// wider than its screen fails the test.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { contrast } from "./contrast.mjs";
import { company, start } from "./server.mjs";

const WIDE = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const shots = process.env.SHIRABE_SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

let passed = 0;
let failed = 0;

/** A browser window with no past; `watch` collects what must not happen. */
async function visitor(options = {}) {
  const profile = mkdtempSync(join(tmpdir(), "shirabe-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
    viewport: WIDE,
    locale: "en-GB",
    timezoneId: "Asia/Tokyo",
    ...options,
  });
  const page = context.pages()[0] ?? (await context.newPage());
  const bad = [];
  let expected = [];
  page.on("console", (message) => {
    const text = `${message.type()}: ${message.text()} ${message.location().url}`;
    if (message.type() === "error" && !expected.some((ok) => text.includes(ok))) bad.push(text);
  });
  page.on("pageerror", (error) => bad.push(`script: ${error.message}`));
  return {
    page,
    /** Statuses and texts that a test provokes itself. */
    expect: (...texts) => (expected = texts),
    async close() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
      assert.deepEqual(bad, [], "the console stays empty");
    },
  };
}

async function shot(page, name) {
  const over = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.ok(over <= 0, `${name} is ${over} px wider than its screen`);
  const weak = await page.evaluate(contrast).catch(() => []);
  assert.deepEqual(weak, [], `${name}: text that is hard to read`);
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

async function test(name, work) {
  if (process.argv[2] && !name.includes(process.argv[2])) return;
  const closing = [];
  const began = Date.now();
  try {
    await work({
      server: async (...args) => {
        const server = await start(...args);
        closing.push(() => server.stop());
        return server;
      },
      visitor: async (options) => {
        const someone = await visitor(options);
        closing.unshift(() => someone.close());
        return someone;
      },
    });
    for (const close of closing.splice(0)) await close();
    passed += 1;
    console.log(`ok      ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
    for (const close of closing) await close().catch(() => {});
  }
}

const lines = (page) => page.locator("#view .line");
const hello = { host: "desk", app: "hello", level: "info", message: "hello 調べ <b>&amp;</b>", user: { name: "Ann Lee" } };

await test("an empty server says how to send, and becomes the viewer when a line comes", async (t) => {
  const server = await t.server();
  const { page } = await t.visitor();
  await page.goto(server.http);
  const text = await page.locator("body").innerText();
  const tcp = server.listeners.find((l) => l.protocol === "syslog" && l.transport === "tcp").address;
  const forward = server.listeners.find((l) => l.protocol === "forward" && l.transport === "tcp").address;
  const port = (address) => address.split(":").pop();
  for (const part of [
    `logger -n 127.0.0.1 -P ${port(tcp)} -T`, `curl ${server.http}/api/v1/ingest`,
    `target="127.0.0.1" port="${port(tcp)}"`, `syslog("127.0.0.1" port(${port(tcp)})`,
    `port: ${port(forward)}`, `"fluentd-address": "${forward}"`, `"syslog-address": "tcp://${tcp}"`,
  ]) {
    assert.ok(text.includes(part), `${part} stands in\n${text}`);
  }
  assert.equal(await page.locator(".copy").count(), await page.locator(".snippet").count());
  await shot(page, "empty-wide-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize(PHONE);
  await shot(page, "empty-phone-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WIDE);
  await server.send([hello]);
  await lines(page).first().waitFor();
  assert.match(page.url(), /live=1/);
});

await test("a line is found by a word and by a part of one, and opens in place", async (t) => {
  const server = await t.server();
  await server.send([...company(), hello]);
  const someone = await t.visitor();
  const { page } = someone;
  await page.goto(server.http);
  await shot(page, "data-wide-light");
  for (const query of ["調べ", "hel"]) {
    await page.keyboard.press("/");
    await page.keyboard.insertText(query);
    await page.keyboard.press("Enter");
    await page.waitForURL(/[?&]q=/);
    await page.waitForLoadState();
    assert.equal(await lines(page).count(), 1, query);
    assert.equal(await page.locator("#view .line mark").first().innerText(), query);
    assert.ok((await lines(page).first().innerText()).includes("<b>&amp;</b>"), "text is text");
    await page.locator(".home").click();
    await page.waitForLoadState();
  }
  await page.goto(`${server.http}/?q=hel`);
  await lines(page).first().locator(".message").click();
  await page.locator("#view .detail").waitFor();
  assert.match(page.url(), /open=\d+/);
  const detail = await page.locator("#view .detail").innerText();
  for (const part of ["user.name", "Ann Lee", "desk", "hello", "permalink"]) {
    assert.ok(detail.includes(part), `${part} stands in ${detail}`);
  }
  await page.reload();
  await page.locator("#view .detail").waitFor();
  await page.getByText("as JSON").click();
  assert.ok((await page.locator("#view .detail pre").last().innerText()).includes('"user.name": "Ann Lee"'));
  await page.locator("#view .detail td a", { hasText: "Ann Lee" }).click();
  await page.waitForLoadState();
  assert.equal(await page.locator("#q").inputValue(), 'hel user.name:"Ann Lee"');
  assert.equal(await lines(page).count(), 1);
  await page.locator("#view .line .message").click();
  await page.locator("#view .detail").waitFor();
  await page.locator("#view .detail a", { hasText: "permalink" }).click();
  await page.waitForURL(/\/records\/\d+$/);
  assert.equal(await page.locator(".full").innerText(), hello.message);
  await shot(page, "record-wide-light");
  await page.goto(`${server.http}/?q=timed+OR+失敗+OR+"Failed+password"`);
  await lines(page).nth(4).locator(".message").click();
  await page.locator("#view .detail").waitFor();
  await shot(page, "open-wide-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await shot(page, "open-wide-dark");
  await page.setViewportSize(PHONE);
  await shot(page, "open-phone-dark");
});

await test("keys walk, open and close", async (t) => {
  const server = await t.server();
  await server.send(company());
  const { page } = await t.visitor();
  await page.goto(server.http);
  for (const key of ["j", "j", "j", "k", "Enter"]) await page.keyboard.press(key);
  await page.locator("#view .line.at.open + .detail").waitFor();
  assert.equal(await lines(page).nth(1).getAttribute("class").then((c) => c.includes("open")), true);
  await page.keyboard.press("Enter");
  await page.locator("#view .detail").waitFor({ state: "detached" });
  assert.ok(!page.url().includes("open="));
});

await test("links narrow the question: host, app, severity, a bar, older and newer", async (t) => {
  const server = await t.server();
  await server.send(company());
  const { page } = await t.visitor();
  await page.goto(server.http);
  const total = async () => Number((await page.locator("footer span").first().innerText()).replace(/\D/g, ""));
  assert.equal(await total(), 901);
  const first = await lines(page).first().getAttribute("id");
  await page.locator(".pages a[rel=next]").click();
  await page.waitForURL(/cursor=/);
  assert.equal(await lines(page).count(), 100);
  const second = await lines(page).first().getAttribute("id");
  assert.notEqual(first, second);
  await page.locator(".pages a[rel=next]").click();
  await page.waitForLoadState();
  await page.locator(".pages a[rel=prev]").click();
  await page.waitForURL(/newer=/);
  assert.equal(await lines(page).first().getAttribute("id"), second);
  await page.locator(".pages a[rel=prev]").click();
  await page.waitForLoadState();
  assert.equal(await lines(page).first().getAttribute("id"), first);

  await page.locator(".legend a", { hasText: "error" }).click();
  await page.waitForURL(/severity/);
  const errors = await total();
  assert.ok(errors > 0 && errors < 901);
  assert.equal(await page.locator("#view .line.error").count(), Math.min(errors, 100));
  await page.locator("#view .line .host").first().click();
  await page.waitForURL(/host/);
  assert.ok((await total()) < errors);
  await page.goto(server.http);
  const bar = page.locator("svg.bars a:has(.bar-error)").first();
  const said = await bar.locator("title").textContent();
  await page.goto(new URL(await bar.getAttribute("href"), server.http).href);
  assert.equal(await total(), Number(said.match(/^([\d,]+) lines?$/m)[1].replace(",", "")));
  await page.locator(".shift").first().click();
  await page.waitForLoadState();
  assert.match(page.url(), /from=.*to=/);

  // A drag over the histogram.
  await page.goto(server.http);
  const box = await page.locator("svg.bars").boundingBox();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.95, box.y + 30, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=\d+&to=\d+/);
  const drawn = await total();
  assert.ok(drawn > 0 && drawn < 901, `${drawn}`);
});

await test("the live switch shows what comes, and waits for who reads", async (t) => {
  const server = await t.server();
  await server.send(company());
  const { page } = await t.visitor();
  await page.goto(server.http);
  const opened = page.waitForRequest(/api\/v1\/tail/);
  await page.locator(".live").click();
  await page.waitForURL(/live=1/);
  await opened;
  await page.waitForFunction(() => document.querySelector(".live[data-tail]:not([data-lost])"));
  const began = Date.now();
  let n = 0;
  // The stream may open a moment after its request: lines come until one is seen.
  const sending = setInterval(() => void server.send([{ ...hello, message: `pushed ${(n += 1)}` }]), 200);
  await page.locator("#view .line", { hasText: "pushed" }).first().waitFor();
  clearInterval(sending);
  assert.ok(Date.now() - began < 5_000, "within some seconds");
  await shot(page, "live-wide-light");
  const scroll = page.locator("#view .scroll");
  // By name, since the view may be put in place anew at this moment.
  await page.evaluate(() => document.querySelector("#view .scroll").scrollTo({ top: 400 }));
  await server.send([{ ...hello, message: "came meanwhile" }]);
  await page.locator(".waiting", { hasText: /new lines?/ }).waitFor();
  assert.equal(await page.locator("#view .line", { hasText: "came meanwhile" }).count(), 0);
  await shot(page, "waiting-wide-light");
  await page.locator(".waiting").click();
  await page.locator("#view .line", { hasText: "came meanwhile" }).waitFor();
  assert.equal(await scroll.evaluate((element) => element.scrollTop), 0);
});

await test("everything works without scripts", async (t) => {
  const server = await t.server();
  const { page } = await t.visitor({ javaScriptEnabled: false });
  await page.goto(server.http);
  assert.ok((await page.content()).includes('http-equiv="refresh"'));
  await server.send([...company(), hello]);
  await page.goto(server.http);
  await page.locator("#q").fill("hel");
  await page.locator("#ask button").click();
  await page.waitForURL(/q=hel/);
  assert.equal(await lines(page).count(), 1);
  await lines(page).first().locator(".message").click();
  await page.waitForURL(/open=\d+/);
  assert.ok((await page.locator("#view .detail").innerText()).includes("Ann Lee"));
  await page.locator("summary").first().click();
  await page.locator(".quick a").first().click();
  await page.waitForURL(/from=-5m/);
  await page.goto(`${server.http}/?open=${(await lines(page).first().getAttribute("id")).slice(1)}`);
  await page.setViewportSize(WIDE);
  if (shots) await page.screenshot({ path: join(shots, "no-scripts-wide-light.png") });
  await page.locator(".live").click();
  await page.waitForURL(/live=1/);
  assert.ok((await page.content()).includes('http-equiv="refresh"'));
});

await test("what does not read, is not there, or is not found says so", async (t) => {
  const server = await t.server();
  await server.send([...company(), { ...hello, time: "2024-05-01T00:00:00Z", message: "an old one" }]);
  const someone = await t.visitor();
  const { page } = someone;
  someone.expect("400", "404");
  const wrong = await page.goto(`${server.http}/?q=failed+AND+(refused+OR`);
  assert.equal(wrong.status(), 400);
  assert.match(await page.locator(".wrong-words").innerText(), /Column \d+/);
  await shot(page, "wrong-wide-light");
  const missing = await page.goto(`${server.http}/records/99999999`);
  assert.equal(missing.status(), 404);
  await shot(page, "missing-wide-light");
  assert.equal((await page.goto(`${server.http}/nowhere`)).status(), 404);
  assert.match(await page.locator("h1").innerText(), /nothing here/);
  await page.goto(`${server.http}/?q=zzzqqq`);
  assert.match(await page.locator("h1").innerText(), /Nothing that is kept matches/);
  await shot(page, "nothing-wide-light");
  await page.goto(`${server.http}/?q=old&from=-1h`);
  assert.match(await page.locator("h1").innerText(), /Nothing in this range/);
  await page.locator(".ways a").first().click();
  await page.waitForLoadState();
  assert.equal(await lines(page).count(), 1);
  // Nobody said when: a line that is older than the usual range is found all the same.
  await page.goto(`${server.http}/?q=%22an+old+one%22`);
  assert.equal(await lines(page).count(), 1);
});

await test("a phone has room for everything", async (t) => {
  const server = await t.server();
  await server.send([...company(), { ...hello, message: "x".repeat(3000), ["k".repeat(200)]: "v".repeat(500) }]);
  const { page } = await t.visitor({ viewport: PHONE, hasTouch: true, isMobile: true });
  await page.goto(server.http);
  await shot(page, "data-phone-light");
  await page.locator("summary").first().tap();
  await shot(page, "range-phone-light");
  await page.locator("summary").first().tap();
  await lines(page).first().locator(".message").tap();
  await page.locator("#view .detail").waitFor();
  await shot(page, "open-phone-light");
});

await test("Japanese, on the clocks of the browser", async (t) => {
  const server = await t.server();
  await server.send([...company(), hello]);
  const { page } = await t.visitor({ locale: "ja-JP" });
  await page.goto(server.http);
  await page.locator("html[lang=ja]").waitFor();
  assert.match(await page.locator(".range small").innerText(), /JST|\+09/);
  await shot(page, "data-wide-ja");
  await page.locator("footer a").click();
  await page.locator("html[lang=en]").waitFor();
});

await test("a wall of 4K", async (t) => {
  const server = await t.server();
  await server.send(company());
  const { page } = await t.visitor({ viewport: { width: 3840, height: 2160 }, colorScheme: "dark" });
  await page.goto(server.http);
  await shot(page, "data-4k-dark");
});

await test("a server with a token asks for it once", async (t) => {
  const server = await t.server({ SHIRABE_AUTH__TOKEN: '"open-sesame"' });
  server.token = "open-sesame";
  await server.send([hello]);
  const someone = await t.visitor();
  const { page } = someone;
  someone.expect("401", "403");
  await page.goto(`${server.http}/?q=hel`);
  await page.waitForURL(/login/);
  await shot(page, "login-wide-light");
  await page.locator("input[name=token]").fill("wrong");
  await page.keyboard.press("Enter");
  await page.locator(".bad").waitFor();
  await page.locator("input[name=token]").fill("open-sesame");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=hel/);
  assert.equal(await lines(page).count(), 1);
});

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
