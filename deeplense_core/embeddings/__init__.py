"""Images as vectors: what a network's features say of them, a map to look at, and which ones are alike.

    embed.py      features of a data set or of files, streamed into one file
    store.py      that file: ids, vectors, and what is known of each image
    project.py    a map of the vectors in two dimensions, and new points on it
    similar.py    neighbours in the space of the vectors, exact
    tags.py       what people write on images of a map
    making.py     embeddings and maps in the background
"""

SAMPLE = 300
"""Images of a recipe that are simulated to be embedded, where nothing else is said."""
