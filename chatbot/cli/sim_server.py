"""`chatbot sim-server`: the simulated LLM server alone."""

from chatbot.cli.common import Parser, refuse


def run_sim_server(argv: list[str]) -> int:
    """Serve until it is stopped."""
    parser = Parser(prog="chatbot sim-server", description="The simulated LLM server, alone.")
    add = parser.add_argument
    add("--port", type=int, default=8080, help="where to listen on 127.0.0.1 (default: 8080)")
    add("--first-token", type=float, default=0.05, metavar="S", help="seconds to the first token")
    add("--inter-chunk", type=float, default=0.01, metavar="S", help="seconds between chunks")
    add("--chunks", type=int, default=32, metavar="N", help="chunks in an answer")
    add("--seed", type=int, default=0, metavar="N", help="another seed, other answers")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65535:
        parser.error("argument --port: give a number from 0 to 65535")
    for name, seconds in (
        ("first-token", options.first_token),
        ("inter-chunk", options.inter_chunk),
    ):
        if not 0 <= seconds <= 3600:  # which a NaN is not either
            parser.error(f"argument --{name}: give seconds from 0 to 3600")
    if not 1 <= options.chunks <= 100_000:
        parser.error("argument --chunks: give a number from 1 to 100000")
    from chatbot.distribution import constant
    from chatbot.errors import ChatbotError
    from chatbot.settings import SimServerSettings
    from chatbot.simserver.process import run_alone

    settings = SimServerSettings(
        port=options.port,
        first_token=constant(options.first_token),
        inter_chunk=constant(options.inter_chunk),
        chunks=constant(options.chunks),
        seed=options.seed,
    )
    try:
        return run_alone(settings)
    except ChatbotError as error:
        return refuse(str(error))
