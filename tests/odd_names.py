"""Names of files and folders as nobody would choose them, and as somebody does."""

KEPT = (
    *(
        "v [1]",
        "a?b*",
        "{x}",
        "**",
        "a b",
        " a ",
        "ünï 日本",
        "a\nb",
        "a\tb",
        "a\\b",
        "'",
        '"',
        "`",
        "$HOME",
        "!",
    ),
    *(
        "-a",
        "--a",
        "-",
        "~x",
        "x~",
        "x~/y",
        "./~",
        "%20",
        "#a",
        "a#b",
        "a;b",
        "a&b",
        "x:",
        "a:b",
        "NUL",
        "@a",
    ),
    *(".", "..", "../x", "./x", ".hidden", "a" * 200),
)
"""Names that every flag of a file or a folder takes for themselves."""

ODD = "-v [1]?*{a},b~#%41&ü\n$x:y'\""
"""A name of a folder that holds what some library takes for something else."""
