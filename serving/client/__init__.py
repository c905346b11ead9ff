"""The client of a served masked language model: text in, what transformers' fill-mask pipeline returns out.

    from serving.client import FillMaskClient

    with FillMaskClient("http://127.0.0.1:8501", model="fill_mask") as client:
        client.fill_mask("The Milky Way is a <mask> galaxy.", top_k=3)

It needs no TensorFlow, neither over REST nor over gRPC.
"""

from serving.client.answers import Answer, Candidate
from serving.client.fill_mask_client import AsyncFillMaskClient, FillMaskClient
from serving.client.fill_mask_requests import TruncationWarning
from serving.client.target_words import TargetWarning

__all__ = ["Answer", "AsyncFillMaskClient", "Candidate", "FillMaskClient", "TargetWarning", "TruncationWarning"]
