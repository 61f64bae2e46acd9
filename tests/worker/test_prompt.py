"""The messages of a conversation that fit into the budget."""

from hypothesis import given
from hypothesis import strategies as st

from midsentence_worker.models.base import Message
from midsentence_worker.models.tokens import message_tokens
from midsentence_worker.prompt import prompt

texts = st.text(alphabet="ab 你好\n😀", max_size=40)
any_message = st.builds(Message, st.sampled_from(["user", "assistant"]), texts)
conversations = st.lists(any_message, max_size=12)
budgets = st.integers(0, 150)


def cost(sent: list[Message]) -> int:
    return sum(map(message_tokens, sent))


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def test_conversation_that_fits_is_sent_whole() -> None:
    messages = [user("Hi"), assistant("Hello"), user("And?")]
    assert [Message("system", "Be brief."), *messages] == prompt(messages, system_prompt="Be brief.", budget=1000)


def test_no_system_prompt_means_no_system_message() -> None:
    assert [user("Hi")] == prompt([user("Hi")], system_prompt="", budget=1000)


def test_oldest_turns_are_dropped_first_and_whole() -> None:
    messages = [user("a" * 40), assistant("b" * 40), user("c" * 40), assistant("d" * 40), user("e")]
    assert messages == prompt(messages, system_prompt="", budget=cost(messages))
    assert messages[2:] == prompt(messages, system_prompt="", budget=cost(messages) - 1)


def test_empty_answer_is_left_out_and_its_question_is_sent() -> None:
    messages = [user("Hi"), assistant(""), user("Still there?")]
    assert [user("Hi"), user("Still there?")] == prompt(messages, system_prompt="", budget=1000)


def test_newest_question_is_sent_even_if_it_exceeds_the_budget() -> None:
    messages = [user("Hi"), assistant("Hello"), user("x" * 1000)]
    assert [Message("system", "Be brief."), messages[2]] == prompt(messages, system_prompt="Be brief.", budget=10)


@given(conversations, texts, budgets)
def test_prompt_is_the_end_of_the_conversation(messages: list[Message], system: str, budget: int) -> None:
    sent = prompt(messages, system_prompt=system, budget=budget)
    head = [Message("system", system)] if system else []
    tail = sent[len(head) :]
    assert sent[: len(head)] == head
    with_text = [message for message in messages if message.role == "user" or message.text]
    assert tail == with_text[len(with_text) - len(tail) :]


@given(conversations, texts, budgets)
def test_prompt_begins_with_a_user_and_holds_the_newest_question(
    messages: list[Message], system: str, budget: int
) -> None:
    sent = [message for message in prompt(messages, system_prompt=system, budget=budget) if message.role != "system"]
    questions = [message for message in messages if message.role == "user"]
    assert [message.role for message in sent[:1]] == ["user"] * bool(questions)
    assert [message for message in sent if message.role == "user"][-1:] == questions[-1:]


@given(conversations, texts, budgets)
def test_prompt_is_within_the_budget_unless_one_turn_exceeds_it(
    messages: list[Message], system: str, budget: int
) -> None:
    sent = prompt(messages, system_prompt=system, budget=budget)
    assert cost(sent) <= budget or sum(message.role == "user" for message in sent) <= 1


@given(conversations, texts, budgets)
def test_prompt_leaves_out_no_turn_that_fits(messages: list[Message], system: str, budget: int) -> None:
    sent = prompt(messages, system_prompt=system, budget=budget)
    whole = prompt(messages, system_prompt=system, budget=10**6)
    left_out = whole[bool(system) : len(whole) - len(sent) + bool(system)]
    newest_left_out = max((at for at, message in enumerate(left_out) if message.role == "user"), default=0)
    assert not left_out or cost(sent) + cost(left_out[newest_left_out:]) > budget
