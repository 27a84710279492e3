"""The indexes that come with AdaMem, one module each; `adamem.index.index_class(name)` finds them."""
