"""Problems to train on from scratch: data sets, architectures, a trainer, and the metrics of the papers."""
