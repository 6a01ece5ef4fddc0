"""Takes drivers away from a GDAL, so that no file of a stranger leads to what one of them would open."""

import ctypes
from collections.abc import Set as AbstractSet


def keep_drivers(library: str, kept: AbstractSet[str]) -> None:
    """Takes all drivers away but some, by GDAL's C interface, which its bindings do not show.

    GDAL's own setting for it, GDAL_SKIP, must name every driver of every build, and comes too late in a process that
    used GDAL before. Where a build does not let it be done nothing happens: the caller looks at what is left.

    Args:
        library: A compiled module that is linked with GDAL: what is looked up in it is found there.
        kept: The names of drivers that stay; one that was taken away before comes back.
    """
    try:
        gdal = ctypes.CDLL(library)
        register, count, get = gdal.GDALAllRegister, gdal.GDALGetDriverCount, gdal.GDALGetDriver
        name_of, take_away = gdal.GDALGetDriverShortName, gdal.GDALDeregisterDriver
    except (AttributeError, OSError):
        return
    get.argtypes, get.restype = [ctypes.c_int], ctypes.c_void_p
    name_of.argtypes, name_of.restype = [ctypes.c_void_p], ctypes.c_char_p
    take_away.argtypes, take_away.restype = [ctypes.c_void_p], None
    register()
    for driver in [get(index) for index in range(count())]:
        if name_of(driver).decode() not in kept:
            take_away(driver)
