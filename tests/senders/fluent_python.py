"""PyPI fluent-logger. argv: port count marker"""
import sys

from fluent import sender

port, count, marker = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
out = sender.FluentSender("app", host="127.0.0.1", port=port, nanosecond_precision=True, timeout=60)
for n in range(count):
    if not out.emit("web", {"message": f"{marker} line {n}", "n": n}):
        sys.exit(f"not sent: {out.last_error}")
out.close()
