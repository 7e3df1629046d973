"""From the gradients of several tasks to what an optimizer is fed: what all methods have in common."""
