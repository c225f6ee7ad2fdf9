"""A query and documents, the first of which answers it."""

QUERY = "Where do cats sleep?"
DOCUMENTS = [
    "The cat sleeps on the sofa in the living room.",
    "Interest rates were raised by the central bank on Thursday.",
    "A recipe for bread needs flour, water, salt and yeast.",
    "The football match ended in a draw after extra time.",
    "The engine of this car needs new spark plugs.",
]
