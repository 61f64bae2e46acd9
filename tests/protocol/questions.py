"""Questions that both the demo model and the tests' scripted one answer, at about the same length."""

# At the demo's speed: 0.2 s, 2 s, 4 s, and longer than any test. A test that asks LONG deletes the session.
SHORT = "Please write 5 words. tokens=5 rate=100 seed=1"
MEDIUM = "Please write 60 words. tokens=60 rate=40 seed=3"
SLOW = "Please write 140 words. tokens=140 rate=40 seed=7"
LONG = "Please write 900 words. tokens=900 rate=30 seed=5"
# Both models send reasoning before the text.
THOUGHTFUL = "Please think first, then write 5 words. tokens=5 rate=20 seed=1 reasoning=12"
# Both models answer with the number of messages that they received, which is the length of the path.
HOW_MANY = "How many messages were you sent? Tell me in 45 words."
