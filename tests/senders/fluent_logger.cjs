// npm fluent-logger (the older package) with acks. argv: port count marker
const [port, count, marker] = [+process.argv[2], +process.argv[3], process.argv[4]];
const sender = require("fluent-logger").createFluentSender("app", {
  host: "127.0.0.1", port, timeout: 60, requireAckResponse: true, flushInterval: 20, sendQueueSizeLimit: 1e9,
});
sender.on("error", (e) => { console.error(e); process.exit(1); });
let left = count;
for (let n = 0; n < count; n++) {
  sender.emit("web", { message: `${marker} line ${n}`, n }, (e) => {
    if (e) { console.error(e); process.exit(1); }
    if (--left === 0) sender.end();
  });
}
