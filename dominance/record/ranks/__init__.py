"""One training in several processes: which backward() averages gradients over them, and the same for the tasks'."""
