"""Its tables are LIIF's for one neighbor, without a margin."""

from clit_deploy.render.tables.liif_tables import LiifTables


class ToyTables(LiifTables):
    def __init__(self, args, arrays):
        super().__init__({"local_ensemble": False, "feat_unfold": False}, arrays)
