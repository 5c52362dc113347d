"""Loop nests as C that people can read.

One function runs many steps. Buffers keep the names of the nodes they come from, and each nest begins with
a comment that says which layer and which ATen operator it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flatout.codegen.memory import reusing
from flatout.codegen.nest import (
    Affine,
    Apply,
    Buffer,
    Expr,
    IndexValue,
    Kernel,
    Load,
    MatMul,
    Number,
    Parts,
    Pointwise,
    Program,
    Random,
    Reduction,
    ScalarLet,
    ScalarRef,
    Slices,
    Term,
    Var,
    View,
    innermost,
    operands,
    walk,
)

C_TYPES = {
    "float32": "float", "float64": "double", "int64": "int64_t", "int32": "int32_t", "int16": "int16_t",
    "int8": "int8_t", "uint8": "uint8_t", "bool": "uint8_t",
}  # fmt: skip
_SMALL = ("int16", "int8", "uint8")  # C computes with them as int
_IN_BODY = C_TYPES | {"bool": "int"}
_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=", "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>",
}  # fmt: skip
_OF_FLAGS = {"add": "|", "mul": "&", "max": "|", "min": "&"}
_SUFFIX = {"float32": "_f32", "float64": "_f64"}
# Products of at least this many multiplications go to BLAS.
_BLAS_FROM = 1 << 26

FUNCTION = "flatout_steps"
SIGNATURE = (
    f"void {FUNCTION}(long steps, const int64_t *order, long order_step, void **state, void **data,\n"
    "                   const double *scalars, uint64_t seed, uint64_t first_step, void *losses_,\n"
    "                   char *arena, void *sgemm_, void *dgemm_, long thread, long threads, int64_t *team)"
)


def render(program: Program, offsets: Mapping[Buffer, int], title: str) -> str:
    """The C source of a program.

    Args:
        program: what to render.
        offsets: where each temporary lies in the arena, in bytes.
        title: for the comment at the top.
    """
    lines = [f"/* {title} */", "", '#include "flatout_kernels.h"', ""]
    lines += [*_shared_products(program), SIGNATURE, "{"]
    body: list[str] = []
    for buffer in program.state:
        body.append(f"{C_TYPES[buffer.dtype]} *restrict {buffer.name} = state[{buffer.index}];")
    for buffer in program.data:
        body.append(f"const {C_TYPES[buffer.dtype]} *restrict {buffer.name} = data[{buffer.index}];")
    for buffer in (b for b in program.temporaries if b in offsets):
        c_type = C_TYPES[buffer.dtype]
        where = offsets[buffer]
        body.append(
            f"{c_type} *restrict {buffer.name} = ({c_type} *)(arena + {where}); /* [{buffer.size}] */"
        )
    assert program.loss is not None
    body.append(f"{C_TYPES[program.loss.dtype]} *losses = losses_;")
    body.append("fo_sgemm sgemm = (fo_sgemm)sgemm_;")
    body.append("fo_dgemm dgemm = (fo_dgemm)dgemm_;")
    body.append(
        "(void)sgemm, (void)dgemm, (void)seed, (void)first_step, (void)thread, (void)threads, (void)team;"
    )
    body.append("const uint64_t mode = fo_flush_subnormals();")
    body.append("")
    body.append("for (long step = 0; step < steps; step++) {")
    inner: list[str] = []
    for position, name in enumerate(program.scalars):
        inner.append(f"const double {name} = scalars[step * {len(program.scalars)} + {position}];")
    inner.append("if (step == 0 || order_step) { /* the same samples as before need not be gathered again */")
    for kernel in program.kernels[: program.prologue]:
        inner += _indent(_in_team(kernel, program.parallel, offsets))
    inner.append("}")
    inner.append("order += order_step;")
    places = dict(offsets)
    for parts in (kernel for kernel in program.kernels if isinstance(kernel, Parts)):
        places.update(parts.places)
    for kernel, stop in _with_stops(program.kernels[program.prologue :], places):
        inner += ["", *stop, *_in_team(kernel, program.parallel, places)]
    if program.parallel:
        inner += ["", "fo_wait(team, threads);"]
    body += _indent(inner)
    body += ["}", "fo_go_back(mode);"]
    return "\n".join([*lines, *_indent(body), "}", ""])


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else line for line in lines]


_STOP = "FO_REUSE"


def _with_stops(
    kernels: Sequence[Kernel], places: Mapping[Buffer, int]
) -> Iterator[tuple[Kernel, Sequence[str]]]:
    """The kernels of a loop's body, and what stands before each where memory is used anew."""
    stops = reusing(kernels, places)
    if any(stops):
        stops[0] = True  # the last round's memory
    for kernel, stop in zip(kernels, stops, strict=True):
        yield kernel, (_STOP,) if stop else ()


def _in_team(kernel: Kernel, parallel: bool, places: Mapping[Buffer, int]) -> list[str]:
    """A kernel as each of several threads runs it."""
    lines = _kernel(kernel, places)
    if not parallel:
        return lines
    if not kernel.split and not isinstance(kernel, ScalarLet):
        lines = ["if (thread == 0) {", *_indent(lines), "}"]
    return ["fo_wait(team, threads);", *lines] if kernel.wait else lines


def _kernel(kernel: Kernel, places: Mapping[Buffer, int]) -> list[str]:
    comment = [f"/* {kernel.comment} */"] if kernel.comment else []
    match kernel:
        case ScalarLet(name=name, value=value):
            body = _Body(in_loop=False)
            result = body.value(value)
            if body.lines:
                return [f"double {name};", "{", *_indent([*body.lines, f"{name} = {result};"]), "}"]
            return [f"const double {name} = {result};"]
        case Pointwise():
            return comment + _pointwise(kernel)
        case Reduction():
            return comment + _reduction(kernel)
        case MatMul():
            return comment + _matmul(kernel)
        case Slices(var=var, count=count, body=inside):
            if count == 1:
                return [*comment, "{", *_indent(_in_turn(inside, places)), "}"]
            return comment + _loop(var, count, _in_turn(inside, places))
        case Parts():
            return comment + _parts(kernel, places)
        case Random(buffer=buffer, kind=kind, draw=draw, groups=groups):
            function = f"fo_{kind}{_SUFFIX[buffer.dtype]}"
            return [*comment, f"{function}({buffer.name}, {groups}, {draw}, first_step + step, seed);"]
    raise AssertionError(kernel)


def _in_turn(kernels: Sequence[Kernel], places: Mapping[Buffer, int]) -> list[str]:
    lines = []
    for kernel, stop in _with_stops(kernels, places):
        lines += ["", *stop, *_kernel(kernel, places)]
    return lines[1:]


def _parts(kernel: Parts, places: Mapping[Buffer, int]) -> list[str]:
    """Each thread takes every so many parts, and of each part the slices that are its share."""
    part = kernel.var.name
    lines = [f"char *own = arena + {part} * {kernel.step};"]
    for buffer, offset in sorted(kernel.places.items(), key=lambda place: place[1]):
        c_type = C_TYPES[buffer.dtype]
        lines.append(
            f"{c_type} *restrict {buffer.name} = ({c_type} *)(own + {offset}); /* [{buffer.size}] */"
        )
    for inner, stop in _with_stops(kernel.body, places):
        lines += ["", *stop] if lines else [*stop]
        if not isinstance(inner, Slices):
            lines += _kernel(inner, places)
        elif inner.count == 1:
            last = f"if ({part} == {kernel.count - 1}) {{"
            lines += [f"/* {inner.comment} */", last, *_indent(_in_turn(inner.body, places)), "}"]
        else:
            name = inner.var.name
            begin, end = (f"{inner.count} * {share} / {kernel.count}" for share in (part, f"({part} + 1)"))
            head = f"for (long {name} = {begin}; {name} < {end}; {name}++) {{"
            lines += [f"/* {inner.comment} */", head, *_indent(_in_turn(inner.body, places)), "}"]
    head = f"for (long {part} = thread; {part} < {kernel.count}; {part} += threads) {{"
    return [head, *_indent(lines), "}"]


def _loop(var: Var, extent: int, inner: list[str], vectorise: bool = False, split: bool = False) -> list[str]:
    begin, end = (f"FO_BEGIN({extent})", f"FO_END({extent})") if split else ("0", str(extent))
    head = f"for (long {var.name} = {begin}; {var.name} < {end}; {var.name}++)"
    lines = [head + " {", *_indent(inner), "}"] if len(inner) != 1 else [head, *_indent(inner)]
    return ["FO_VECTORISE", *lines] if vectorise else lines


def _nest(axes: Sequence[tuple[Var, int]], inner: list[str], split: bool) -> list[str]:
    for position, (var, extent) in enumerate(reversed(axes)):
        outermost = position == len(axes) - 1
        inner = _loop(var, extent, inner, vectorise=position == 0, split=split and outermost)
    return inner if axes else (["{", *_indent(inner), "}"] if len(inner) > 1 else inner)


# A copy that turns at least so many rows and columns is done in squares of vectors.
_LEAST_TURNED = 8


def _turning_copy(kernel: Pointwise) -> list[str] | None:
    """A copy that only turns rows into columns; None where a nest is something else."""
    if len(kernel.axes) != 2 or len(kernel.stores) != 1 or kernel.stores[0].buffer.kind == "losses":
        return None
    (store,), ((row, rows), (column, columns)) = kernel.stores, kernel.axes
    load = store.value
    if not isinstance(load, Load) or load.dtype not in _SUFFIX or min(rows, columns) < _LEAST_TURNED:
        return None
    if store.buffer.dtype != load.dtype or load.buffer is store.buffer:
        return None
    if store.address.stride(column) != 1 or load.address.stride(row) != 1 or load.address.stride(column) < 2:
        return None
    if any(True for address in (store.address, load.address) for _ in address.dynamic()):
        return None
    into, out_of = store.address.stride(row), load.address.stride(column)
    first = f"FO_BEGIN({rows})" if kernel.split else ""
    count = f"FO_END({rows}) - {first}" if first else str(rows)
    begins = []
    for buffer, address, step in ((load.buffer, load.address, 1), (store.buffer, store.address, into)):
        begin = address.without(row, column)
        text = buffer.name + (f" + {_Body().address(begin)}" if begin.terms or begin.constant else "")
        begins.append(text + (f" + {first} * {step}" if first else ""))
    name = f"fo_transpose{_SUFFIX[load.dtype]}"
    return [f"{name}({count}, {columns}, {begins[0]}, {out_of}, {begins[1]}, {into});"]


def _pointwise(kernel: Pointwise) -> list[str]:
    turned = _turning_copy(kernel)
    if turned is not None:
        return turned
    body = _Body([s.value for s in kernel.stores], {s.buffer for s in kernel.stores})
    values = [(s, body.value(s.value)) for s in kernel.stores]
    if len(values) > 1:  # every value is computed before the first is stored
        values = [(s, body.named(s.value, text, s.buffer.name)) for s, text in values]
    stores = [f"{s.buffer.name}[{body.address(s.address)}] = {text};" for s, text in values]
    if kernel.stores[0].buffer.kind == "losses":
        stores = [f"losses[step] = {text};" for _, text in values]
    return _after(body.before, _nest(kernel.axes, [*body.lines, *stores], kernel.split))


def _after(before: list[str], nest: list[str]) -> list[str]:
    """A nest after the values it needs, in a block of their own."""
    return ["{", *_indent([*before, *nest]), "}"] if before else nest


_INITIAL = {"sum": "0", "prod": "1", "max": "-INFINITY", "min": "INFINITY"}
_COMBINED = {
    "sum": "{a} + {x}",
    "prod": "{a} * {x}",
    "max": "({a} > {x}) | ({a} != {a}) ? {a} : {x}",
    "min": "({a} < {x}) | ({a} != {a}) ? {a} : {x}",
}


def _initial(op: str, dtype: str) -> str:
    if op in ("max", "min") and dtype in ("bool", "uint8"):
        return "0" if op == "max" else "1" if dtype == "bool" else "UINT8_MAX"
    if op in ("max", "min") and "int" in dtype:
        return f"{dtype.upper()}_{'MIN' if op == 'max' else 'MAX'}"
    return _INITIAL[op]


def _reduction(kernel: Reduction) -> list[str]:
    c_type = _IN_BODY[kernel.buffer.dtype]
    target = f"{kernel.buffer.name}[{_Body().address(kernel.address)}]"
    start = _initial(kernel.op, kernel.buffer.dtype)

    def combined(accumulator: str, value: str) -> str:
        return _COMBINED[kernel.op].format(a=accumulator, x=value)

    body = _Body([kernel.value])
    value = body.value(kernel.value)
    innermost = kernel.reduced[-1][0] if kernel.reduced else None
    start = target if kernel.onto else start
    along = _unit_steps(kernel.value, innermost) if innermost else 0
    across = _unit_steps(kernel.value, kernel.axes[-1][0]) if kernel.axes else -math.inf
    if across > along:
        # The innermost axis of the result runs fastest, its elements are the accumulators.
        outer, (var, extent) = kernel.axes[:-1], kernel.axes[-1]
        cut = kernel.split and not outer
        clear = [] if kernel.onto else _loop(var, extent, [f"{target} = {start};"], split=cut)
        change = [*body.lines, f"{target} = {combined(target, value)};"]
        add = _loop(var, extent, change, vectorise=True, split=cut)
        for reduced_var, reduced_extent in reversed(kernel.reduced):
            add = _loop(reduced_var, reduced_extent, add)
        lines = [*clear, *add]
        for outer_var, outer_extent in reversed(outer):
            split = kernel.split and outer_var is outer[0][0]
            lines = _loop(outer_var, outer_extent, lines, split=split)
        return _after(body.before, lines)
    inner = [*body.lines, f"total = {combined('total', value)};"]
    for var, extent in reversed(kernel.reduced):
        inner = _loop(var, extent, inner)
    lines = [f"{c_type} total = {start};", *inner, f"{target} = total;"]
    for var, extent in reversed(kernel.axes):
        lines = _loop(var, extent, lines, split=kernel.split and var is kernel.axes[0][0])
    if body.before or not kernel.axes:
        return ["{", *_indent([*body.before, *lines]), "}"]
    return lines


def _unit_steps(value: Expr, var: Var | None) -> int:
    """How many loads go forward by one element with `var`, less those that jump."""
    score = 0
    for expr in walk([value]):
        if isinstance(expr, Load) and var is not None:
            stride = expr.address.stride(var)
            score += 1 if stride == 1 else -1 if stride else 0
    return score


@dataclass(frozen=True)
class _Product:
    """A call of a product from the header: `text` has places for the pointers a, b, out and bias."""

    text: str
    pointers: Mapping[str, str]
    dtype: str

    @property
    def call(self) -> str:
        """The call with its pointers."""
        return self.text.format(**self.pointers)


def _product(kernel: MatMul) -> _Product:
    out, a, b, bias = _row_major(kernel)
    (M, N), K = out.shape, a.shape[1]
    (am, ak), (bk, bn), (om, on) = a.strides, b.strides, out.strides
    pointers = {"a": _rows_from(a, kernel.split), "b": _pointer(b), "out": _rows_from(out, kernel.split)}
    bm = biases = 0
    if bias is not None:
        pointers["bias"] = _rows_from(bias, kernel.split)
        bm, biases = bias.strides
    rows = f"FO_END({M}) - FO_BEGIN({M})" if kernel.split else str(M)
    suffix = _SUFFIX[out.buffer.dtype]
    with_bias = f"{{bias}}, {bm}, {biases}" if bias is not None else "0, 0, 0"
    if on == 1 and (bn == 1 or N == 1) and (bias is None or biases in (0, 1)):
        kind, numbers = "", f"{{a}}, {am}, {ak}, {{b}}, {bk}, {{out}}, {om}"
    elif (ak == 1 or K == 1) and (bk == 1 or K == 1):
        kind, numbers = "_dots", f"{{a}}, {am}, {{b}}, {bn}, {{out}}, {om}, {on}"
    else:
        kind, numbers = "_strided", f"{{a}}, {am}, {ak}, {{b}}, {bk}, {bn}, {{out}}, {om}, {on}"
    text = f"fo_matmul{kind}{suffix}({rows}, {N}, {K}, {numbers}, {with_bias});"
    return _Product(text, pointers, out.buffer.dtype)


def _row_major(kernel: MatMul) -> tuple[View, View, View, View | None]:
    """The product, or the transposed one where that has contiguous rows."""
    out, a, b, bias = kernel.out, kernel.a, kernel.b, kernel.bias
    if out.strides[0] == 1 and out.strides[1] != 1:
        return out.transposed(), b.transposed(), a.transposed(), bias and bias.transposed()
    return out, a, b, bias


def _large(kernel: MatMul) -> list[str] | None:
    """The call of BLAS for a large product; None where it is none, or BLAS does not take it."""
    M, N, K = *kernel.out.shape, kernel.a.shape[1]
    return _blas(*_row_major(kernel)) if M * N * K >= _BLAS_FROM and not kernel.split else None


def _matmul(kernel: MatMul) -> list[str]:
    product = _product(kernel)
    if kernel.function:
        return [f"{kernel.function}({', '.join(product.pointers.values())});"]
    return _large(kernel) or [product.call]


def _shared_products(program: Program) -> list[str]:
    """Functions for products of the same sizes that a step has several times: each is compiled once."""
    alike: dict[str, list[tuple[MatMul, _Product]]] = {}
    for kernel in innermost(program.kernels):
        if isinstance(kernel, MatMul) and not kernel.split and not _large(kernel):
            product = _product(kernel)
            alike.setdefault(product.text, []).append((kernel, product))
    lines: list[str] = []
    for number, (text, members) in enumerate((t, m) for t, m in alike.items() if len(m) > 1):
        product = members[0][1]
        c_type = C_TYPES[product.dtype]
        for kernel, _ in members:
            kernel.function = f"product_{number}"
        takes = ", ".join(f"{'' if name == 'out' else 'const '}{c_type} *{name}" for name in product.pointers)
        body = text.format(**{name: name for name in product.pointers})
        lines += [
            f"static __attribute__((noinline)) void product_{number}({takes})",
            "{",
            f"    {body}",
            "}",
            "",
        ]
    return lines


def _rows_from(view: View, split: bool) -> str:
    """The first row of a view that this thread works on."""
    if not split:
        return _pointer(view)
    return f"{_pointer(view)} + FO_BEGIN({view.shape[0]}) * {view.strides[0]}"


def _pointer(view: View) -> str:
    where = view.along + view.offset
    return view.buffer.name + (f" + {_Body().address(where)}" if where.terms or where.constant else "")


def _blas(out: View, a: View, b: View, bias: View | None) -> list[str] | None:
    """A call of Fortran's gemm; row-major out means computing the transposed product column-major."""
    (M, N), K = out.shape, a.shape[1]
    if out.strides[1] != 1:
        return None

    def layout(view: View) -> tuple[str, int] | None:
        rows, columns = view.strides
        if columns == 1:
            return "N", rows
        if rows == 1:
            return "T", columns
        return None

    left, right = layout(b), layout(a)
    if left is None or right is None:
        return None
    real = C_TYPES[out.buffer.dtype]
    call = "sgemm" if real == "float" else "dgemm"
    lines = []
    if bias is not None:
        lines += [
            f"for (long m = 0; m < {M}; m++)",
            f"    for (long n = 0; n < {N}; n++)",
            f"        ({_pointer(out)})[m * {out.strides[0]} + n] = "
            f"({_pointer(bias)})[m * {bias.strides[0]} + n * {bias.strides[1]}];",
        ]
    sizes = f"&(int){{{N}}}, &(int){{{M}}}, &(int){{{K}}}"
    lines.append(
        f'{call}("{left[0]}", "{right[0]}", {sizes}, &({real}){{1}}, {_pointer(b)}, &(int){{{left[1]}}}, '
        f"{_pointer(a)}, &(int){{{right[1]}}}, &({real}){{{1 if bias else 0}}}, {_pointer(out)}, "
        f"&(int){{{out.strides[0]}}});"
    )
    return lines


class _Body:
    """The statements of one innermost body; shared expressions get a name."""

    def __init__(
        self, roots: Sequence[Expr] = (), stored: Collection[Buffer] = (), in_loop: bool = True
    ) -> None:
        self._in_loop = in_loop
        self._stored = stored
        self.lines: list[str] = []
        self.before: list[str] = []  # the loops: what is the same in every iteration
        self._same: set[int] = set()
        self._texts: dict[int, str] = {}
        self._turn = 0
        self._used: dict[str, int] = {}
        self._counts: dict[int, int] = {}
        for expr in walk(list(roots)):
            for operand in operands(expr):
                self._counts[id(operand)] = self._counts.get(id(operand), 0) + 1
        for root in roots:
            self._counts[id(root)] = self._counts.get(id(root), 0) + 1

    def value(self, root: Expr) -> str:
        """The C expression of a value; what it shares with others is named first."""
        for expr in walk([root]):
            if id(expr) in self._texts:
                continue
            count = len(self.lines)
            text = self._text(expr)
            if self._in_loop and self._is_same_everywhere(expr):
                self.before += self.lines[count:]  # names it needed on the way
                del self.lines[count:]
                self._same.add(id(expr))
                if isinstance(expr, Apply) or (isinstance(expr, Load) and expr.buffer.size == 1):
                    self._turn += 1
                    self.before.append(f"const {_IN_BODY[expr.dtype]} c{self._turn} = {text};")
                    text = f"c{self._turn}"
                self._texts[id(expr)] = text
                continue
            shared = self._counts.get(id(expr), 0) > 1 and not isinstance(expr, (Number, ScalarRef))
            if shared or (isinstance(expr, Apply) and len(text) > 90):
                text = self.named(expr, text)
            self._texts[id(expr)] = text
        return self._texts[id(root)]

    def _is_same_everywhere(self, expr: Expr) -> bool:
        """Whether a value does not depend on the loop, so that it need not be computed inside."""
        match expr:
            case Number() | ScalarRef():
                return True
            case Load(buffer=buffer, address=address):
                return not address.terms and buffer not in self._stored
            case Apply(args=args):
                return all(id(arg) in self._same for arg in args)
        return False

    def named(self, expr: Expr | None, text: str, wish: str = "", c_type: str = "") -> str:
        """Give a value a name."""
        if text.isidentifier() and not wish:
            return text
        self._turn += 1
        name = f"new_{wish}" if wish and expr is not None else wish or f"v{self._turn}"
        used = self._used.get(name, 0)
        self._used[name] = used + 1
        name = f"{name}_n{used}" if used else name
        c_type = c_type or _IN_BODY[expr.dtype]  # type: ignore[union-attr]
        self.lines.append(f"const {c_type} {name} = {text};")
        return name

    def plain(self, expr: Expr, text: str) -> str:
        """A name or a constant with this value."""
        return text if isinstance(expr, (Number, ScalarRef)) else self.named(expr, text)

    def address(self, address: Affine) -> str:
        """An address as C."""
        parts: list[str] = []
        constant = address.constant
        for term, coefficient in address.terms:
            text = self._term(term)
            parts.append(text if coefficient == 1 else f"{text} * {coefficient}")
        if constant or not parts:
            parts.append(str(constant))
        return " + ".join(parts)

    def _term(self, term: Term) -> str:
        return term.name if isinstance(term, Var) else self.value(term)

    def _text(self, expr: Expr) -> str:
        match expr:
            case Number():
                return literal(expr)
            case ScalarRef(name=name):
                return name
            case Load(buffer=buffer, address=address):
                return f"{buffer.name}[{self.address(address)}]"
            case IndexValue(index=index):
                return f"(int64_t)({self.address(index)})"
            case Apply(op=op, args=args, dtype=dtype):
                text = self._operation(op, [self._texts[id(a)] for a in args], args, dtype)
                return f"({C_TYPES[dtype]})({text})" if dtype in _SMALL and op != "convert" else text
        raise AssertionError(expr)

    def _operation(self, op: str, texts: list[str], args: tuple[Expr, ...], dtype: str) -> str:
        infix = _OF_FLAGS.get(op) if dtype == "bool" else None
        if infix or op in _INFIX:
            return f"({texts[0]} {infix or _INFIX[op]} {texts[1]})"
        match op:
            case "convert":
                return f"({texts[0]} != 0)" if dtype == "bool" else f"({_IN_BODY[dtype]})({texts[0]})"
            case "neg":
                return f"(-{texts[0]})"
            case "not":
                return f"(!{texts[0]})"
            case "where":
                # Both values are computed first: a load under a condition would be no vector load.
                yes, no = (self.plain(arg, text) for arg, text in zip(args[1:], texts[1:], strict=True))
                return f"({texts[0]} ? {yes} : {no})"
            case "choose":  # only one of the values may be there
                return f"({texts[0]} ? {texts[1]} : {texts[2]})"
            case "reciprocal":
                return f"(1 / {texts[0]})"
            case "abs":
                name = {"float32": "fabsf", "float64": "fabs"}.get(dtype, "llabs")
                return f"__builtin_{name}({texts[0]})"
            case "sqrt":
                return f"__builtin_sqrt{'f' if dtype == 'float32' else ''}({texts[0]})"
            case "rsqrt":
                return f"(1 / __builtin_sqrt{'f' if dtype == 'float32' else ''}({texts[0]}))"
            case "sign":
                return f"(({texts[0]} > 0) - ({texts[0]} < 0))"
            case "max" | "min":
                a, b = (self.named(arg, text) for arg, text in zip(args, texts, strict=True))
                sign = ">" if op == "max" else "<"
                return f"((({a} {sign} {b}) | ({a} != {a})) ? {a} : {b})"
        return f"fo_{op}{_SUFFIX[dtype]}({', '.join(texts)})"


def literal(number: Number) -> str:
    """A constant as C has it."""
    value = number.value
    if number.dtype == "bool":
        return str(int(value))
    if "int" in number.dtype:
        return f"INT64_C({value})" if abs(value) > 2**31 else str(value)
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    if number.dtype == "float32":
        text = str(np.float32(value))
        return (text if any(c in text for c in ".e") else f"{text}.0") + "f"
    return repr(float(value))
