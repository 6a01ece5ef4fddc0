"""Prices of Google Cloud, each with a flag: they change, and differ between regions."""

import argparse
import dataclasses

PRICES_AS_OF = "about those of us-central1 in 2025; give today's"
"""Source: https://cloud.google.com/dataflow/pricing, https://cloud.google.com/nat/pricing,
https://cloud.google.com/storage/pricing, of which only that of NAT was read; the others are what others report."""

_WORDS = {
    "price_vcpu_hour": "a vCPU of a worker, an hour",
    "price_memory_gb_hour": "a GB of a worker's memory, an hour",
    "price_disk_gb_hour": "a GB of a worker's disk, an hour",
    "price_nat_gb": "a GB through Cloud NAT",
    "price_storage_gb_month": "a GB in the bucket, a month",
}


@dataclasses.dataclass(frozen=True)
class Prices:
    """USD; the fields are named as the flags."""

    price_vcpu_hour: float = 0.056
    """Dataflow, a batch worker."""

    price_memory_gb_hour: float = 0.003557
    """Dataflow, a batch worker."""

    price_disk_gb_hour: float = 0.000054
    """Dataflow, a standard persistent disk."""

    price_nat_gb: float = 0.045
    """Cloud NAT, a GB of either direction. Workers with addresses of their own (Dataflow's default) need none."""

    price_storage_gb_month: float = 0.02
    """Cloud Storage, Standard."""

    def worker_hour(self, vcpus: int, memory_gb: float, disk_gb: float) -> float:
        """Returns what a worker costs an hour."""
        return (
            vcpus * self.price_vcpu_hour
            + memory_gb * self.price_memory_gb_hour
            + disk_gb * self.price_disk_gb_hour
        )


def add_price_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each price."""
    group = parser.add_argument_group(f"prices in USD ({PRICES_AS_OF})")
    for field in dataclasses.fields(Prices):
        group.add_argument(
            f"--{field.name}",
            type=float,
            default=field.default,
            metavar="USD",
            help=f"{_WORDS[field.name]} ({f'{field.default:f}'.rstrip('0')})",
        )


def given_prices(given: argparse.Namespace) -> Prices:
    """Returns the prices that the flags give."""
    return Prices(**{field.name: getattr(given, field.name) for field in dataclasses.fields(Prices)})
