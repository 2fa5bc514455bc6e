"""What the registered losses are made of: a pixel loss from its three parts, a region loss, means, schedules."""
