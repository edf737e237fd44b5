// npm @fluent-org/logger: sends lines FROM..TO in one event mode with acks. argv: port mode count marker
const { FluentClient, EventTime } = require("@fluent-org/logger");
const [port, eventMode, count, marker] = [+process.argv[2], process.argv[3], +process.argv[4], process.argv[5]];
(async () => {
  const client = new FluentClient("app", {
    socket: { host: "127.0.0.1", port }, eventMode, ack: { ackTimeout: 60000 },
    flushInterval: 20, sendQueueIntervalLimit: 1000,
  });
  await client.connect();
  const pending = [];
  for (let n = 0; n < count; n++) {
    pending.push(client.emit("web", { message: `${marker} line ${n}`, n }, EventTime.now()));
    if (pending.length >= 500) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
  await client.shutdown();
})().catch((e) => { console.error(e); process.exit(1); });
