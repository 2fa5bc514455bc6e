"""What the differences between variants amount to, over images and over seeds."""
