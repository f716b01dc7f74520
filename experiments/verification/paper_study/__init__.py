"""What of the paper's statements the studies here bear out."""
