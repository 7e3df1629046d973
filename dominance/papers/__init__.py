"""Every figure and table of the AdaTask, MoCoGrad and PUB papers: what it needs, how it is made, and what it claims."""
