"""How versions are loaded."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Loading:
    """How versions are loaded.

    Attributes:
        retries: How often a version that didn't load is tried again, unless its files change.
        retry_seconds: How long it rests between two attempts.
        warm_up: Whether its warm-up requests are answered before it serves.
        warm_up_iterations: How often each of them is.
        tags: Those of the graph in the SavedModel.
        intra_op_threads: Threads of one operation; 0 for TensorFlow's own choice.
        inter_op_threads: Threads for operations beside each other; 0 for TensorFlow's own choice.
        prefer_lite: Whether `model.tflite` is served in the SavedModel's place where a version has it.
    """

    retries: int = 5
    retry_seconds: float = 60.0
    warm_up: bool = True
    warm_up_iterations: int = 1
    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    prefer_lite: bool = False


DEFAULT_LOADING = Loading()
