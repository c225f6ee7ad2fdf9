"""Other libraries' interfaces over bertcpp's models: a module for each library, which imports that library.

    from bertcpp.integrations.langchain import BertcppEmbeddings

BERTopic, KeyBERT and MTEB need nothing from here: they take a `SentenceTransformer` as it is.
"""
