from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 8)
        self.near = nn.Linear(8, 1)
        self.far = nn.Linear(8, 1)

    def forward(self, x):
        h = self.shared(x).relu()
        return self.near(h)[:, 0], self.far(h)[:, 0]
