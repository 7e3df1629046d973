"""torch_geometric: one graph network, a loss over nodes and one over whole graphs, in mini-batches of graphs."""

import _by_hand
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool

torch.manual_seed(0)


def graph():
    x = torch.randn(8, 5)
    edges = torch.randint(0, 8, (2, 20))
    return Data(x=x, edge_index=edges, node_y=(x[:, 0] > 0).long(), graph_y=3 * x.mean().reshape(1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = GCNConv(5, 16), GCNConv(16, 16)
        self.of_nodes, self.of_graphs = nn.Linear(16, 2), nn.Linear(16, 1)

    def forward(self, data):
        hidden = self.first(data.x, data.edge_index).relu()
        hidden = self.second(hidden, data.edge_index).relu()
        return self.of_nodes(hidden), self.of_graphs(global_mean_pool(hidden, data.batch))[:, 0]


net = Net()
loader = DataLoader([graph() for _ in range(48)], batch_size=8)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
for _ in range(3):
    for data in loader:
        optimizer.zero_grad()
        nodes, graphs = net(data)
        losses = {
            "node": nn.functional.cross_entropy(nodes, data.node_y),
            "graph": nn.functional.mse_loss(graphs, data.graph_y),
        }
        loss = losses["node"] + 2.0 * losses["graph"]
        if _by_hand.on:
            _by_hand.tasks(net, node=losses["node"], graph=2.0 * losses["graph"])
        loss.backward()
        optimizer.step()
    print(loss.item())
_by_hand.finish(net)
