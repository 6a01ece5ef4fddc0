"""Classifiers of one vector a patch: k nearest neighbours and a linear probe, both scikit-learn's."""

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

# One patch a class is meant, and no regression.
warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", module=r"sklearn\.")

NEIGHBOURS = 5
"""Source: the field's habit, e.g. torchgeo-bench."""

_MOST_STEPS = 2000  # of L-BFGS

Vectors = npt.NDArray[np.float32]


def nearest_neighbours(
    training: Vectors, labels: npt.NDArray[np.int64], testing: Vectors
) -> npt.NDArray[np.float64]:
    """Lets the five nearest training patches vote, each by the inverse of its distance.

    Unweighted, five votes among one patch a class would be a draw.

    Args:
        training: (N, E).
        labels: (N,) 0 to C - 1, each at least once.
        testing: (M, E).

    Returns:
        (M, C) share of the votes.
    """
    training, testing = _scaled(training, testing)
    voters = KNeighborsClassifier(min(NEIGHBOURS, len(training)), weights="distance", algorithm="brute")
    shares: npt.NDArray[np.float64] = voters.fit(training, labels).predict_proba(testing)
    return shares


def linear_probe(
    training: Vectors, labels: npt.NDArray[np.int64], testing: Vectors
) -> npt.NDArray[np.float64]:
    """Fits a multinomial logistic regression with scikit-learn's default penalty (C = 1).

    Args and returns: as `nearest_neighbours`; the returned values are probabilities.
    """
    training, testing = _scaled(training, testing)
    probe = LogisticRegression(max_iter=_MOST_STEPS)
    probabilities: npt.NDArray[np.float64] = probe.fit(training, labels).predict_proba(testing)
    return probabilities


def _scaled(training: Vectors, testing: Vectors) -> tuple[Vectors, Vectors]:
    """Brings every dimension to mean 0 and deviation 1 over the training patches."""
    scaler = StandardScaler().fit(training)
    return scaler.transform(training), scaler.transform(testing)
