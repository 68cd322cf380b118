"""The restart policy, over whole lives of processes that die again and again."""

from hypothesis import example, given
from hypothesis import strategies as st

from chatbot.supervisor.policy import GiveUp, Policy, Restart, decide

policies = st.builds(
    Policy,
    st.integers(1, 6),
    st.floats(1.0, 60.0),
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=6).map(lambda waits: tuple(sorted(waits))),
)


@example(Policy(1, 1.0), [2e-132, 1.0])  # a whole period apart, as far as a float can tell
@given(policies, st.lists(st.floats(0.0, 20.0), max_size=60))
def test_there_are_never_more_than_intensity_restarts_in_a_period(
    policy: Policy, lifetimes: list[float]
) -> None:
    now = 0.0
    history: list[float] = []
    for lifetime in lifetimes:
        now += lifetime
        match decide(policy, history, now, was_ready=True):
            case Restart(after_s):
                now += after_s
                history.append(now)
            case GiveUp():
                break
    for last in history:
        within = [at for at in history if at <= last and last - at < policy.period_s]
        assert len(within) <= policy.intensity


def test_a_process_that_was_never_ready_is_not_started_again() -> None:
    decision = decide(Policy(5, 30.0), [], 0.0, was_ready=False)
    assert decision == GiveUp("it could not start")


def test_waits_grow_with_recent_restarts_and_start_over_after_a_quiet_period() -> None:
    policy = Policy(5, 30.0, (0.0, 0.1, 0.5, 2.0, 5.0))
    assert decide(policy, [], 0.0, was_ready=True) == Restart(0.0)
    assert decide(policy, [0.0, 1.0], 2.0, was_ready=True) == Restart(0.5)
    assert decide(policy, [0.0, 1.0], 31.5, was_ready=True) == Restart(0.0)


def test_giving_up_says_how_often_it_died() -> None:
    decision = decide(Policy(2, 30.0), [1.0, 2.0], 3.0, was_ready=True)
    assert decision == GiveUp("it died 3 times within 30 seconds")
