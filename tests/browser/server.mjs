// The built program on free ports, in a directory of its own; and what the tests send to it.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Starts the program and waits until it says `ready`. */
export async function start(settings = {}) {
  const bin = process.env.SHIRABE_BIN;
  if (!bin) throw new Error("SHIRABE_BIN names no program");
  const dir = await mkdtemp(join(tmpdir(), "shirabe-browser-"));
  const any = "127.0.0.1:0";
  // What is set for the tests is no setting of the server's.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SHIRABE_")));
  const child = spawn(
    bin,
    ["serve", "--data-dir", join(dir, "data"), "--http", any, "--syslog", any, "--forward", any],
    { stdio: ["ignore", "pipe", "inherit"], cwd: dir, env: { ...env, SHIRABE_LOG: "warn", ...settings } },
  );
  let ended = false;
  await new Promise((ready, failed) => {
    let said = "";
    child.stdout.on("data", (bytes) => {
      said += bytes;
      if (/^ready$/m.test(said)) ready();
    });
    child.on("exit", (code) => {
      ended = true;
      failed(new Error(`the server ended (${code}) before it said ready: ${said}`));
    });
  });
  const listening = JSON.parse(await readFile(join(dir, "data", "listening.json"), "utf8"));
  return {
    http: listening.http,
    listeners: listening.listeners,
    token: undefined,
    /** Sends records; returns once they are durable. */
    async send(records) {
      const body = records.map((record) => JSON.stringify(record)).join("\n");
      const headers = { "content-type": "application/x-ndjson" };
      if (this.token) headers.authorization = `Bearer ${this.token}`;
      const answer = await fetch(`${listening.http}/api/v1/ingest`, { method: "POST", headers, body });
      const told = await answer.json();
      if (told.accepted !== records.length) throw new Error(`not accepted: ${JSON.stringify(told)}`);
    },
    async stop() {
      if (!ended) {
        const gone = new Promise((done) => child.on("exit", done));
        child.kill("SIGKILL");
        await gone;
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** A quarter of an hour of a small company, the newest line `now`. */
export function company(now = Date.now(), count = 900) {
  let seed = 42;
  // Marsaglia's xorshift32.
  const roll = (n) => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % n;
  };
  const pick = (...of) => of[roll(of.length)];
  const address = () => `203.0.113.${1 + roll(250)}`;
  const records = [];
  for (let n = 0; n < count; n += 1) {
    const at = now - Math.floor((count - n) * (900_000 / count)) + roll(400);
    const bad = n > count * 0.62 && n < count * 0.74;
    const time = new Date(at).toISOString();
    const path = pick("/", "/cart", "/api/v2/orders", "/login", "/search?q=茶碗", "/img/a706d0.webp");
    switch (roll(bad ? 7 : 12)) {
      case 0:
        records.push({ time, host: `payment-0${1 + roll(3)}`, app: "payment-gw", level: bad ? "error" : "warning",
          message: bad ? `capture failed for order ${88000 + roll(999)}: upstream 10.4.2.9:8443 timed out after 30.0s` : `slow capture for order ${88000 + roll(999)}: ${2 + roll(5)}.${roll(9)} s`,
          order: { id: 88000 + roll(999) }, "upstream.address": "10.4.2.9:8443" });
        break;
      case 1:
        records.push({ time, host: `db-00${1 + roll(4)}`, app: "postgres", level: bad ? "error" : "info",
          message: bad ? "FATAL:  remaining connection slots are reserved for superusers" : `checkpoint complete: wrote ${roll(900)} buffers (${roll(9)}.${roll(9)}%)` });
        break;
      case 2:
        records.push({ time, host: "batch-1", app: "在庫同期", level: bad ? "warning" : "info",
          message: bad ? `在庫の同期に失敗しました: 接続がタイムアウトしました 再試行=${1 + roll(3)}` : `在庫を同期しました 対象 ${14000 + roll(999)} 件` });
        break;
      case 3:
        records.push({ time, host: `node-0${10 + roll(9)}`, app: "sshd", level: "info", pid: 2000 + roll(999),
          message: `Failed password for invalid user ${pick("admin", "oracle", "git")} from ${address()} port ${40000 + roll(9999)} ssh2` });
        break;
      case 4:
        records.push({ time, host: `app-0${10 + roll(20)}`, app: "order-service", level: bad ? "error" : "debug",
          message: bad ? "java.net.SocketTimeoutException: Read timed out\n\tat com.example.cart.TrackGraph.homeIndex(TrackGraph.java:681)\n\tat com.example.cart.StoryRank.recordFilter(StoryRank.java:477)" : `cache hit ratio 0.9${roll(9)} keys=${roll(99999)}`,
          trace_id: roll(0x7ffffff).toString(16).padStart(16, "4") });
        break;
      default:
        records.push({ time, host: `web-${1 + roll(8)}`, app: "nginx", level: "info",
          message: `${address()} - - "GET ${path} HTTP/2.0" ${pick(200, 200, 200, 304, 404)} ${roll(90000)} "-" "Mozilla/5.0" ${roll(2)}.${String(roll(999)).padStart(3, "0")}`,
          http: { request: { method: "GET" }, response: { status_code: 200 } }, url: { path } });
    }
  }
  records.push({ time: new Date(now).toISOString(), host: "web-3", app: "nginx", level: "warning",
    message: "upstream timed out (110: Connection timed out) while reading response header from upstream, client: 203.0.113.9, request: \"POST /api/v2/orders HTTP/2.0\"",
    http: { request: { method: "POST" }, response: { status_code: 504 } }, url: { path: "/api/v2/orders" }, client: { address: "203.0.113.9" } });
  return records;
}
