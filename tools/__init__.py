"""What `make` calls: run chapters, render the book, repeat the random checks."""
