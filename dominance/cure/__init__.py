"""Methods on scripts as they are: at ``backward()`` the tasks' gradients are combined, or their losses weighted."""
