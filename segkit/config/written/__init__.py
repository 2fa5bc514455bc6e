"""What a component takes, read from its file as text: importing the file would load torch, which takes seconds."""
