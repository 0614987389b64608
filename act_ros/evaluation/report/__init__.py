"""What is told of an evaluation: figures, tables, a bag and a page for people."""
