"""A GRU over packed sequences of different lengths; AdamW with amsgrad."""

import torch
from _keep import keep
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.manual_seed(3)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6, padding_idx=0)
        self.gru = nn.GRU(6, 8, bidirectional=True, batch_first=True)
        self.tag = nn.Linear(16, 5)
        self.sentence = nn.Linear(16, 2)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return self.tag(output), self.sentence(output.mean(1))


model = Tagger()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, amsgrad=True)
keep(model=model, optimizer=optimizer)
for _ in range(12):
    lengths = torch.randint(2, 7, (6,))
    words = torch.randint(1, 20, (6, int(lengths.max()))) * (torch.arange(int(lengths.max())) < lengths[:, None])
    tag_logits, sentence_logits = model(words, lengths)
    tag_loss = nn.functional.cross_entropy(tag_logits.flatten(0, 1), words.flatten() % 5)
    sentence_loss = nn.functional.cross_entropy(sentence_logits, lengths % 2)
    loss = 0.8 * tag_loss + 0.2 * sentence_loss
    model.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item())
