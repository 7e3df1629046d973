"""The example of the package, as it is; only its network and optimizer are noted down as they are made."""

from _keep import keep

from dominance.examples import digits

make_optimizer = digits.make_optimizer


def noting(name, net, lr):
    optimizer = make_optimizer(name, net, lr)
    keep(net=net, optimizer=optimizer)
    return optimizer


digits.make_optimizer = noting
if __name__ == "__main__":
    digits.main()
