"""Run the Flow with metrics, Prometheus, and a light load until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from scripts.flow.running import FlowError, running_flow
from scripts.watch import dashboard
from scripts.watch.load import arrivals, bodies, waves
from scripts.watch.prometheus import PrometheusError, prometheus

_READY = """
watching model {model} under up to {rate:g} requests/s, in waves of {wave:g} s
    Prometheus  {url}
    HTTP        {http}
    metrics     {metrics}
    dashboard   {dashboard}, for a Grafana with that Prometheus
{picture}
Ctrl-C ends it.
"""


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run all of them; the exit code is 0 after Ctrl-C, SIGTERM or the last wave."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    settings = {"CLIP_MONITORING_PORT": "9300", **environment}
    with tempfile.TemporaryDirectory(prefix="clip-watch-") as folder, contextlib.ExitStack() as stack:
        log = Path(folder) / "flow.log"
        try:
            flow = stack.enter_context(running_flow(settings, stack.enter_context(log.open("wb"))))
            source = stack.enter_context(prometheus(flow.metrics, port=options.port))
        except (FlowError, PrometheusError) as error:
            print(log.read_text(encoding="utf-8", errors="replace")[-3000:], file=sys.stderr)
            print(f"watch: {error}", file=sys.stderr)
            return 1
        ports = [f"http://127.0.0.1:{port}/metrics" for ports in flow.metrics.values() for port in ports]
        picture = f"    picture     {options.picture}, drawn from the dashboard's queries after each wave\n"
        print(
            _READY.format(
                model=flow.model,
                rate=options.rate,
                wave=options.wave,
                url=source.url,
                http=flow.http,
                metrics=" ".join(ports),
                dashboard=dashboard.FILE,
                picture=picture if options.picture else "",
            ),
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            what = bodies(words="text" in flow.executors)
            for number in range(options.waves or sys.maxsize):
                for rate in waves(options.rate):
                    asyncio.run(arrivals(flow.http, rate, options.wave / 7, what, seed=number))
                if options.picture:
                    dashboard.draw(source, options.wave * min(number + 1, 5), options.picture)
        print("watch: ended", flush=True)
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.watch", description=__doc__)
    parser.add_argument(
        "--rate", type=float, default=20, help="requests per second at the peak of a wave (%(default)s)"
    )
    parser.add_argument("--wave", type=float, default=70, help="seconds per wave (%(default)s)")
    parser.add_argument("--waves", type=int, default=0, help="number of waves; 0: endless (%(default)s)")
    parser.add_argument("--port", type=int, default=9390, help="port of Prometheus (%(default)s)")
    parser.add_argument("--picture", type=Path, help="PNG file to draw the dashboard to after each wave")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
