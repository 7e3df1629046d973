"""Every public name with its home, a line each: a name is registered here alone, for the package reads this file."""

from dominance import benchmarks as benchmarks
from dominance import optim as optim
from dominance import probes as probes
from dominance.analyse.affinity import affinity as affinity
from dominance.analyse.alignment import alignment as alignment
from dominance.analyse.conflict import conflict_layers as conflict_layers
from dominance.analyse.conflict import gcd as gcd
from dominance.analyse.geometry import geometry as geometry
from dominance.analyse.learning_rate import lr_dominance as lr_dominance
from dominance.analyse.noise import noise_importance as noise_importance
from dominance.analyse.noise_scale import noise_scale as noise_scale
from dominance.analyse.ownership import ownership as ownership
from dominance.analyse.study.change import change as change
from dominance.analyse.study.delta import delta as delta
from dominance.analyse.study.delta import delta_m as delta_m
from dominance.analyse.study.diff_association import diff_association as diff_association
from dominance.analyse.study.rank_stability import rank_stability as rank_stability
from dominance.analyse.study.scores import final_scores as final_scores
from dominance.analyse.study.single import single_task_runs as single_task_runs
from dominance.analyse.study.t_tests import similarity_t_tests as similarity_t_tests
from dominance.analyse.study.tci import tci as tci
from dominance.analyse.study.tci import tci_over_epochs as tci_over_epochs
from dominance.analyse.study.tci_gcd import tci_gcd_correlation as tci_gcd_correlation
from dominance.analyse.summary import summary as summary
from dominance.analyse.updates import au as au
from dominance.analyse.updates import rau as rau
from dominance.analyse.updates import rau_buckets as rau_buckets
from dominance.analyse.verdict.verdict import verdict as verdict
from dominance.errors import DominanceError as DominanceError
from dominance.notebook.page import report as report
from dominance.plots.affinity import plot_affinity as plot_affinity
from dominance.plots.alignment import plot_alignment as plot_alignment
from dominance.plots.change import plot_change as plot_change
from dominance.plots.conflict_layers import plot_conflict_layers as plot_conflict_layers
from dominance.plots.diff_association import plot_diff_association as plot_diff_association
from dominance.plots.effective_tasks import plot_effective_tasks as plot_effective_tasks
from dominance.plots.gcd import plot_gcd as plot_gcd
from dominance.plots.geometry import plot_geometry as plot_geometry
from dominance.plots.gradient_norms import plot_gradient_norms as plot_gradient_norms
from dominance.plots.losses import plot_losses as plot_losses
from dominance.plots.lr_dominance import plot_lr_dominance as plot_lr_dominance
from dominance.plots.noise_importance import plot_noise_importance as plot_noise_importance
from dominance.plots.noise_scale import plot_noise_scale as plot_noise_scale
from dominance.plots.overview import plot_overview as plot_overview
from dominance.plots.ownership import plot_ownership as plot_ownership
from dominance.plots.rau_buckets import plot_rau_buckets as plot_rau_buckets
from dominance.plots.scores import plot_scores as plot_scores
from dominance.plots.tci import plot_tci as plot_tci
from dominance.plots.tci_gcd import plot_tci_gcd as plot_tci_gcd
from dominance.plots.verdict import plot_verdict as plot_verdict
from dominance.record.evaluation import evaluate as evaluate
from dominance.record.metrics import log as log
from dominance.record.recorder import Recorder as Recorder
from dominance.record.tasks.named import observe as observe
from dominance.record.tasks.shares import by_class as by_class
from dominance.record.tasks.shares import by_column as by_column
from dominance.record.tasks.shares import by_group as by_group
from dominance.record.tasks.shares import by_part as by_part
from dominance.sinks.sending import send as send
from dominance.store.reader import open_run as open_run
from dominance.store.reader import open_runs as open_runs

__version__: str
__all__: list[str]

def load_ipython_extension(shell: object) -> None: ...
