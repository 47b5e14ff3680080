"""One self-contained HTML page of a run: data and chart specs (pure), and what writes them."""
