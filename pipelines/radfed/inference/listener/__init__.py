"""A storage SCP that segments the studies it is sent: a queue on disk between those who send and the model."""
