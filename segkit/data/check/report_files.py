"""The names of all files in the folder that `segkit check-data` reports into."""

from segkit.system.entries import Entry, NamedFolder
from segkit.system.run_files import RunFiles


class CheckFiles(NamedFolder):
    """Where the parts of a report on data are. Those that a run leaves too are called as there."""

    check = Entry(RunFiles.check.name, "What was found.")
    labels_plot = Entry(RunFiles.labels_plot.name, "How often each class occurs.")
    masks = Entry("masks.jpg", "Some images with their labels laid over them.")
    config = Entry("data.yaml", "A configuration with the proposed `data:` block.")
