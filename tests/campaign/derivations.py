"""Derivations in YAML that are damaged, hostile, or ask for work without end."""

from __future__ import annotations

from collections.abc import Iterator

from tests.campaign.case import ACCEPTED, EITHER, REFUSED, Case

GRADIENTS = """\
gradients:
  W2: sum[n] (p[n,k] - y[n,k]) * phi(a1[n,h]) / N
  b2: sum[n] (p[n,k] - y[n,k]) / N
  W1: sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N
  b1: sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) / N
"""
#: A planted file would show that code of a derivation ran.
PYTHON = '!!python/object/apply:os.system ["touch RAN"]'


def with_b2(formula: str) -> str:
    """Return the right derivation with another formula for b2."""
    return "\n".join(f"  b2: {formula}" if line.startswith("  b2") else line for line in GRADIENTS.split("\n"))


def _bomb() -> str:
    levels = [f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)]
    return "\n".join(["a: &a [x,x,x,x,x,x,x,x,x]", *levels, GRADIENTS])


#: Whole files. A right derivation passes the check.
FILES: dict[str, tuple[str | bytes, str]] = {
    "right": (GRADIENTS, ACCEPTED),
    "BOM": ("\ufeff" + GRADIENTS, ACCEPTED),
    "CRLF": (GRADIENTS.replace("\n", "\r\n"), ACCEPTED),
    "UTF-16": (GRADIENTS.encode("utf-16"), EITHER),
    "UTF-16 without a mark": (GRADIENTS.encode("utf-16-le"), REFUSED),
    "Latin-1": ("description: é\n".encode("latin1") + GRADIENTS.encode(), REFUSED),
    "NULs": (b"\x00\xff\xfe" + GRADIENTS.encode(), REFUSED),
    "a NUL in a formula": (GRADIENTS.replace("y[n,k]", "y\0[n,k]"), REFUSED),
    "a control character": (GRADIENTS.replace("y[n,k]", "y\x07[n,k]"), REFUSED),
    "nothing": ("", REFUSED),
    "spaces": ("   \n\n", REFUSED),
    "a comment": ("# nothing\n", REFUSED),
    "aliases that grow without end": (_bomb(), REFUSED),
    "an alias as formula": (GRADIENTS.replace("b2: ", "b2: &x ").replace("b1: ", "b1: *x #"), REFUSED),
    "an alias of nothing": (with_b2("*nothing"), REFUSED),
    "an alias of itself": ("gradients: &g\n  W1: *g\n", REFUSED),
    "a merge key": ("base: &b {W1: x}\ngradients:\n  <<: *b\n", REFUSED),
    "tabs": (GRADIENTS.replace("  W2", "\tW2"), REFUSED),
    "a Python tag as description": (f"description: {PYTHON}\n{GRADIENTS}", REFUSED),
    "a Python tag as formula": (with_b2(PYTHON), REFUSED),
    "a Python tag as key": (f"? {PYTHON}\n: 1\n{GRADIENTS}", REFUSED),
    "a binary tag": (with_b2("!!binary aGVsbG8="), REFUSED),
    "an unknown tag": (with_b2("!evil y[n,k]"), REFUSED),
    "a list": ("- a\n- b\n", REFUSED),
    "a text": ("hello\n", REFUSED),
    "gradients as list": ("gradients: [a,b]", REFUSED),
    "gradients as null": ("gradients:", REFUSED),
    "gradients as number": ("gradients: 5", REFUSED),
    "gradients as text": ("gradients: abc", REFUSED),
    "no gradients": ("description: hi\n", REFUSED),
    "an unknown key": ("foo: 1\n" + GRADIENTS, REFUSED),
    "a key with another case": (GRADIENTS.replace("gradients", "Gradients"), REFUSED),
    "a repeated tensor": (GRADIENTS + "  b2: y[n,k]\n", REFUSED),
    "a tensor twice in two forms": (GRADIENTS + "  b2[k]: y[n,k]\n", REFUSED),
    "an unknown tensor": (GRADIENTS + "  W9: y[n,k]\n", REFUSED),
    "a tensor of layer 0": (GRADIENTS + "  W0: y[n,k]\n", REFUSED),
    "an empty tensor": (GRADIENTS + "  '': y[n,k]\n", REFUSED),
    "a missing tensor": ("gradients:\n  W2: sum[n] (p[n,k] - y[n,k]) * phi(a1[n,h]) / N\n", REFUSED),
    "100 layers": ("gradients:\n" + "".join(f"  W{i}: x\n  b{i}: x\n" for i in range(1, 101)), REFUSED),
    "two documents": (GRADIENTS + "---\n" + GRADIENTS, REFUSED),
    "5,000 brackets": ("gradients: " + "[" * 5000 + "]" * 5000, REFUSED),
    "3,000 braces": ("gradients: " + "{a: " * 3000 + "1" + "}" * 3000, REFUSED),
    "100,000 open brackets": ("gradients: " + "[" * 100_000, REFUSED),
    "5,000 nested blocks": ("".join(" " * i + f"k{i}:\n" for i in range(2000)), REFUSED),
    "a description of 5 MB": ('description: "' + "a" * 5_000_000 + '"\n' + GRADIENTS, EITHER),
    "10,000 keys": ("".join(f"k{i}: 1\n" for i in range(10_000)) + GRADIENTS, REFUSED),
    "a description with markup": ("description: 'x[/red]y'\n" + GRADIENTS, ACCEPTED),
    "a description with escape sequences": ('description: "\\e[31mx"\n' + GRADIENTS, ACCEPTED),
    "a description as list": ("description: [1]\n" + GRADIENTS, REFUSED),
}
#: Formulas for b2. Their values are wrong, so a check that runs fails (1) unless the formula cannot be used
#: (2).
FORMULAS: dict[str, tuple[str, str]] = {
    "nothing": ("", REFUSED),
    "a list": ("[1,2]", REFUSED),
    "a mapping": ("{a: b}", REFUSED),
    "towers of powers": ("'sum[n] x[n,0]**9**9**9 * y[n,k]'", EITHER),
    "a tower of numbers": ("9**9**9**9 * sum[n] y[n,k]", EITHER),
    "a huge power": ("sum[n] y[n,k]**1e308", EITHER),
    "1,900 digits": ("1" + "0" * 1900 + " * sum[n] y[n,k]", REFUSED),
    "100,000 digits": ("1" * 100_000, REFUSED),
    "an infinite number": ("1e999 * sum[n] y[n,k]", REFUSED),
    "infinity less infinity": ("(1e999-1e999) * sum[n] y[n,k]", REFUSED),
    "division by zero": ("sum[n] y[n,k] / 0", REFUSED),
    "log of zero": ("log(0) * sum[n] y[n,k]", REFUSED),
    "log of a negative number": ("log(-1) * sum[n] y[n,k]", REFUSED),
    "exp of a million": ("exp(1e6) * sum[n] y[n,k]", REFUSED),
    "root of negative numbers": ("sum[n] (p[n,k]-y[n,k])**0.5", REFUSED),
    "3,000 parentheses": ("(" * 3000 + "1" + ")" * 3000, REFUSED),
    "900 parentheses": ("(" * 900 + "sum[n] y[n,k]" + ")" * 900, REFUSED),
    "150 parentheses": ("(" * 150 + "sum[n] y[n,k]" + ")" * 150, EITHER),
    "1,500 minus signs": ("-" * 1500 + "sum[n] y[n,k]", REFUSED),
    "60 minus signs": ("-" * 60 + "1 * sum[n] y[n,k]", REFUSED),
    "200 terms": ("+".join(["sum[n] y[n,k]"] * 200), REFUSED),
    "130 terms": ("+".join(["sum[n] y[n,k]"] * 130), EITHER),
    "300 nested functions": ("exp(" * 300 + "1" + ")" * 300 + "*sum[n] y[n,k]", REFUSED),
    "900 powers": ("2" + "**2" * 900, REFUSED),
    "200 sums": ("sum[n] " * 200 + "y[n,k]", REFUSED),
    "a Cyrillic letter": ("sum[n] у[n,k]", REFUSED),
    "a full-width letter": ("sum[n] ｙ[n,k]", REFUSED),
    "a Greek sum": ("Σ[n] y[n,k]", REFUSED),
    "a minus sign from print": ("sum[n] p[n,k] − y[n,k]", REFUSED),
    "a space of no width": ("sum[n] y\u200b[n,k]", REFUSED),
    "a superscript": ("sum[n] y[n,k]²", REFUSED),
    "a subscript": ("sum[n] y₁[n,k]", REFUSED),
    "an emoji": ("'sum[n] y[n,🎉] * y[n,k]'", REFUSED),
    "a right-to-left mark": ("'sum[n] \u202ey[n,k]'", REFUSED),
    "an import": ('\'__import__("os").system("touch RAN")\'', REFUSED),
    "an attribute": ("y.__class__", REFUSED),
    "a subscripted attribute": ("y[n,k].__class__", REFUSED),
    "a lambda": ("'(lambda: 1)()'", REFUSED),
    "a call": ("open(x)", REFUSED),
    "an f-string": ("'f\"{y}\"'", REFUSED),
    "an assignment": ("'(y:=1)'", REFUSED),
    "a comprehension": ("'[y for y in x]'", REFUSED),
    "a condition": ("1 if y else 2", REFUSED),
    "a comparison": ("y < x", REFUSED),
    "a starred argument": ("exp(*x)", REFUSED),
    "a keyword argument": ("exp(a=1)", REFUSED),
    "two arguments": ("exp(1,2)", REFUSED),
    "None": ("None", REFUSED),
    "True": ("True * sum[n] y[n,k]", REFUSED),
    "a complex number": ("1j * sum[n] y[n,k]", REFUSED),
    "bytes": ("'b\"abc\"'", REFUSED),
    "a string": ("'\"abc\"'", REFUSED),
    "two statements": ("1; 2", REFUSED),
    "a line continuation": ("'sum[n] \\ y[n,k]'", REFUSED),
    "a comment": ("sum[n] y[n,k] # x", EITHER),
    "several lines": ("|\n    sum[n]\n    y[n,k]", EITHER),
    "a sum over 6 sample letters": (
        "sum[n,m,q,s,u,v] exp(x[n,0]*x[m,0]*x[q,0]*x[s,0]*x[u,0]*x[v,0]) * y[n,k]",
        REFUSED,
    ),
    "a sum over 8 letters": (
        "sum[n,m,i,j,q,r,s,t] x[n,i]*x[m,j]*x[q,r]*x[s,t]*p[n,k]*exp(x[n,i]*x[m,j]*x[q,r]*x[s,t])",
        REFUSED,
    ),
    "a sum over 5 sample letters": ("sum[a,b,c,d,n] exp(x[a,0]+x[b,0]+x[c,0]+x[d,0])*y[n,k]", EITHER),
    "a sum over 5 hidden letters": (
        "sum[n,a,b,c,d,e] exp(W1[a,0]*W1[b,0]*W1[c,0]*W1[d,0]*W1[e,0]) * y[n,k]",
        EITHER,
    ),
    "a sum over 30 letters": (
        f"sum[{','.join(f'n{i}' for i in range(30))},n] y[n,k] * {'*'.join(f'x[n{i},0]' for i in range(30))}",
        EITHER,
    ),
    "a sum over 60 letters": (
        f"sum[{','.join(f'n{i}' for i in range(60))},n] y[n,k] * {'*'.join(f'x[n{i},0]' for i in range(60))}",
        REFUSED,
    ),
    "an index beyond 64 bits": ("sum[n] y[n,k]*x[n,99999999999999999999]", REFUSED),
    "a negative index": ("sum[n] y[n,k]*x[n,-1]", REFUSED),
    "a broken index": ("sum[n] y[n,k]*x[n,0.5]", REFUSED),
    "an index with a sum": ("sum[n] y[n,k]*x[n,d+1]", REFUSED),
    "a sample that may not be there": ("y[999,k]", REFUSED),
    "a layer of 11 digits": ("sum[n] y[n,k]*W99999999999[0,0]", REFUSED),
    "a layer of 5,000 digits": (f"sum[n] W{'9' * 1500}[0,0] * y[n,k]", REFUSED),
    "an array of layer 0": ("sum[n] y[n,k]*a0[n,0]", REFUSED),
    "an unsummed letter": ("y[n,k]", REFUSED),
    "a letter summed that is needed": ("sum[n,k] y[n,k]", REFUSED),
    "a sum over nothing": ("sum[] y[n,k]", REFUSED),
    "a letter summed twice": ("sum[n,n] y[n,k]", REFUSED),
    "N as a letter": ("sum[N] y[N,k]", REFUSED),
    "one letter on two axes": ("sum[n] x[n,n]*y[n,k]", REFUSED),
    "an unknown name": ("foo * sum[n] y[n,k]", REFUSED),
    "an unknown function": ("tanh(1) * sum[n] y[n,k]", REFUSED),
    "a keyword": ("sum[n] if * y[n,k]", REFUSED),
}


def _nothing_ran(folder, outcome):
    return ["code of the derivation ran"] if (folder / "RAN").exists() else []


def cases() -> Iterator[Case]:
    """Yield a case for each file and formula."""
    contents = {f"file: {name}": value for name, value in FILES.items()}
    contents |= {f"formula: {name}": (with_b2(text), expected) for name, (text, expected) in FORMULAS.items()}
    for name, (content, expected) in contents.items():
        args = ("check", "dataset=iris", "derivation=mine", "model.hidden=[5]")
        files = {"m/derivation/mine.yaml": content}
        yield Case("YAML", name, args, expected, files, {"BACKPROOF_PLUGINS": "@D/m"}, inspect=_nothing_ran)
