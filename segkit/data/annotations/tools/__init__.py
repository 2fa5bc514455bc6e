"""What annotation tools save: shapes with a label each, in JSON, text or XML, and which pixels such a shape covers."""
