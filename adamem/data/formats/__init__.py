"""One module a file format; every one hands over `VectorSource`s or texts and knows nothing of caches or cards."""
