"""Its graphs: the feature's part of the linear map is hoisted to the grid."""

from clit_deploy.export.ensemble_graphs import EnsembleExport
from clit_deploy.export.graph_builder import Builder
from clit_deploy.export.graph_layers import bias, channels_last, convolution, weight


class ToyExport(EnsembleExport):
    neighbors = 1
    channels = hidden = 3
    has_cell = False

    def __init__(self, model):
        self.model = model

    def project(self, stage):
        b = Builder(f"stage{stage}.project")
        channels = self.model.encoder.out_dim
        features = b.input("features", [1, channels, "in_rows", "in_cols"])
        kernel = weight(self.model.linear)[:, :channels, None, None] / 2
        constant = bias(self.model.linear) / 2 + 0.5
        maps = channels_last(b, convolution(b, features, kernel, constant))
        b.output("maps", maps, ["rows", "cols", 3])
        return b.model()

    def answer(self, b, near, down, across, cell):
        row, col = weight(self.model.linear)[:, -2:].T / 2
        moved = b("Add", b("Mul", down, row), b("Mul", across, col))
        return b.reshape(b("Add", near, moved), -1, 3)
