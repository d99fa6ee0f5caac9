"""Prints as JSON what a signac-flow project defines: the argument is its file.

The file is imported, and nothing of it is executed. Conditions are told apart by the functions of
flow that made them; of Python functions, those are translated that are a single expression of
parameters, results and files.
"""

import ast
import contextlib
import datetime
import importlib
import inspect
import json
import os
import sys

FALSY = (None, False, 0, "")
COMPARISONS = {ast.Eq: "=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**"}
LITERALS = (bool, int, float, str)


class Untranslatable(Exception):
    """An expression that only Python can evaluate."""


class Functions:
    """The functions in a file, as their source says."""

    def __init__(self, path):
        self.path = path
        self.by_line = {}
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                lines = {node.lineno} | {d.lineno for d in getattr(node, "decorator_list", [])[:1]}
                for line in lines:
                    self.by_line.setdefault((line, isinstance(node, ast.Lambda)), []).append(node)

    def body(self, function):
        """Returns the parameter of a function and the expression that it returns."""
        function = inspect.unwrap(function)
        code = getattr(function, "__code__", None)
        if code is None or os.path.realpath(code.co_filename) != self.path:
            raise Untranslatable
        nodes = self.by_line.get((code.co_firstlineno, code.co_name == "<lambda>"), [])
        if len(nodes) != 1:
            raise Untranslatable
        node, arguments = nodes[0], nodes[0].args
        names = [a.arg for a in arguments.posonlyargs + arguments.args if a.arg not in ("self", "cls")]
        if len(names) != 1 or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            raise Untranslatable
        if isinstance(node, ast.Lambda):
            return names[0], node.body, function
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
            raise Untranslatable
        return names[0], body[0].value, function


class Translator:
    """Translates the expression that a function of one job returns."""

    def __init__(self, functions, function):
        self.job, self.node, self.function = functions.body(function)

    def literal(self, node):
        if isinstance(node, ast.Name) and node.id != self.job:
            value = self.function.__globals__.get(node.id)
            if type(value) in LITERALS and node.id not in self.function.__code__.co_freevars:
                return value
            raise Untranslatable
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            raise Untranslatable from None

    def is_job(self, node):
        return isinstance(node, ast.Name) and node.id == self.job

    def field(self, node):
        """Returns ("sp" or "doc", keys, what a missing key stands for or `...`)."""
        if isinstance(node, ast.Attribute):
            if self.is_job(node.value):
                space = {"sp": "sp", "statepoint": "sp", "doc": "doc", "document": "doc"}.get(node.attr)
                if space is None:
                    raise Untranslatable
                return space, [], ...
            space, keys, default = self.field(node.value)
            if node.attr.startswith("_"):
                raise Untranslatable
        elif isinstance(node, ast.Subscript):
            space, keys, default = self.field(node.value)
            key = self.literal(node.slice)
            if not isinstance(key, str):
                raise Untranslatable
            return space, keys + [key], default
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            space, keys, default = self.field(node.func.value)
            arguments = [self.literal(argument) for argument in node.args]
            if node.keywords or not 1 <= len(arguments) <= 2 or not isinstance(arguments[0], str):
                raise Untranslatable
            return space, keys + arguments[:1], arguments[1] if arguments[1:] else None
        elif isinstance(node, ast.Call) and not node.args and not node.keywords:
            return self.field(node.func)
        else:
            raise Untranslatable
        return space, keys + [node.attr], default

    def key(self, node):
        space, keys, default = self.field(node)
        if not keys or any("." in key for key in keys):
            raise Untranslatable
        return ".".join([space] + [json.dumps(key) for key in keys]), default

    def condition(self, node=None):
        """Returns a filter of sweepfs."""
        node = self.node if node is None else node
        if isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return "(" + word.join(self.condition(value) for value in node.values) + ")"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"not ({self.condition(node.operand)})"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("bool", "all") and len(node.args) == 1:
            if node.func.id == "bool":
                return self.condition(node.args[0])
            raise Untranslatable
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self.comparison(node.left, node.ops[0], node.comparators[0])
        name = self.file(node)
        if name is not None:
            return f"file({json.dumps(name)})"
        key, default = self.key(node)
        if default is not ... and default not in FALSY:
            raise Untranslatable
        return key

    def file(self, node):
        """Returns the name of a file that is asked for."""
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or len(node.args) != 1 or node.keywords:
            return None
        asked = node.args[0]
        if node.func.attr == "isfile" and not self.is_job(node.func.value):
            if ast.unparse(node.func) != "os.path.isfile" or not isinstance(asked, ast.Call):
                return None
            node = asked
            if not isinstance(node.func, ast.Attribute) or node.func.attr != "fn" or len(node.args) != 1:
                return None
        elif node.func.attr != "isfile":
            return None
        if not self.is_job(node.func.value):
            return None
        name = self.literal(node.args[0])
        if not isinstance(name, str) or any(c in name for c in "*?[]{}\\"):
            raise Untranslatable
        return name

    def comparison(self, left, operator, right):
        if isinstance(operator, (ast.In, ast.NotIn)):
            negated = isinstance(operator, ast.NotIn)
            text = self.membership(left, right)
        else:
            negated = isinstance(operator, ast.NotEq)
            symbol = "=" if negated else COMPARISONS.get(type(operator))
            if symbol is None:
                raise Untranslatable
            try:
                key, default = self.key(left)
                value = self.literal(right)
            except Untranslatable:
                key, default = self.key(right)
                value, symbol = self.literal(left), MIRRORED[symbol]
            missing_is_false(default, symbol, value)
            text = f"{key}{symbol}{literal_text(value)}"
        return f"not ({text})" if negated else text

    def membership(self, left, right):
        try:
            space, keys, default = self.field(right)
        except Untranslatable:
            key, default = self.key(left)
            values = self.literal(right)
            if not isinstance(values, (list, tuple, set)) or not values or (default is not ... and default in values):
                raise Untranslatable from None
            return f"{key} in [{', '.join(literal_text(value) for value in values)}]"
        name = self.literal(left)
        if keys or not isinstance(name, str) or "." in name:
            raise Untranslatable
        return f"exists({space}.{json.dumps(name)})"

    def outermost(self, node):
        """Returns an expression of a template, without brackets around it."""
        expression = self.expression(node)
        return expression[1:-1] if isinstance(node, ast.BinOp) else expression

    def expression(self, node):
        """Returns an expression of a template, in brackets if it has parts."""
        if self.is_job(node) or is_attribute(node, self.is_job, "id"):
            return "job.id"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and len(node.args) == 1:
            return self.expression(node.args[0])
        called = node.func if isinstance(node, ast.Call) and not node.args else node
        if any(is_attribute(called, self.is_job, name) for name in ("path", "ws", "workspace")):
            return "job.dir"
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            return f"({self.expression(node.left)} {ARITHMETIC[type(node.op)]} {self.expression(node.right)})"
        if isinstance(node, (ast.Constant, ast.UnaryOp)) or isinstance(node, ast.Name):
            value = self.literal(node)
            if type(value) not in (int, float):
                raise Untranslatable
            return repr(value)
        space, keys, default = self.field(node)
        if not keys or default is not ...:
            raise Untranslatable
        return space + "".join(f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]" for key in keys)

    def template(self, node=None):
        """Returns a template of the text that a function returns."""
        node = self.node if node is None else node
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if any(mark in node.value for mark in ("{{", "{%", "{#", "\0")):
                raise Untranslatable
            return node.value
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.template(node.left) + self.template(node.right)
        if isinstance(node, ast.JoinedStr):
            return "".join(self.template(value) for value in node.values)
        if not isinstance(node, ast.FormattedValue) or node.conversion != -1 or node.format_spec is not None:
            raise Untranslatable
        called = node.value
        if isinstance(called, ast.Call) and is_attribute(called.func, self.is_job, "fn") and len(called.args) == 1:
            name = self.literal(called.args[0])
            if not isinstance(name, str):
                raise Untranslatable
            return '{{ job.dir ~ "/" ~ ' + json.dumps(name) + " }}"
        return "{{ " + self.outermost(node.value) + " }}"


def is_attribute(node, is_owner, name):
    return isinstance(node, ast.Attribute) and node.attr == name and is_owner(node.value)


def missing_is_false(default, symbol, value):
    """Refuses a comparison that holds for jobs without the key."""
    if default is ... or (default is None and value is not None):
        return
    try:
        holds = {"=": default == value, "<": default < value, "<=": default <= value, ">": default > value, ">=": default >= value}[symbol]
    except TypeError:
        holds = default == value
    if holds or default is None:
        raise Untranslatable


def literal_text(value):
    if value is not None and type(value) not in LITERALS:
        raise Untranslatable
    return json.dumps(value)


def closure(function):
    names = function.__code__.co_freevars
    return dict(zip(names, (cell.cell_contents for cell in function.__closure__ or ())))


class Description:
    """What a class of a project defines."""

    def __init__(self, module, cls, path):
        self.module, self.cls = module, cls
        self.functions = Functions(path)
        self.names = {}
        for name, function in cls._collect_operations():
            self.names.setdefault(function, name)
        self.pre = cls._collect_preconditions()
        self.post = cls._collect_postconditions()

    def describe(self):
        operations = [self.operation(name, function) for name, function in self.cls._collect_operations()]
        return {
            "class": self.cls.__name__,
            "operations": operations,
            "groups": self.groups(),
            "labels": self.labels(),
        }

    def operation(self, name, function):
        place = {"pre": "_collect_preconditions", "post": "_collect_postconditions"}
        conditions = {
            kind: [
                self.condition(condition, f"m.{self.cls.__name__}.{collect}()[dict(m.{self.cls.__name__}._collect_operations())[{json.dumps(name)}]][{i}]")
                for i, condition in enumerate(getattr(self, kind).get(function, []))
            ]
            for kind, collect in place.items()
        }
        is_command = bool(getattr(function, "_flow_cmd", False))
        hooks = self.cls._OPERATION_HOOK_REGISTRY.get(function, {})
        return {
            "name": name,
            "is_command": is_command,
            "template": self.translated(function, "template") if is_command else None,
            "with_job": bool(getattr(function, "_flow_with_job", False)),
            "directives": {str(key): self.directive(value) for key, value in (getattr(function, "_flow_directives", None) or {}).items()},
            "group_directives": sorted(getattr(function, "_flow_group_operation_directives", {})),
            "aggregator": self.aggregator(function._flow_aggregate),
            "hooks": {trigger: [f.__name__ for f in functions] for trigger, functions in hooks.items() if functions},
            **conditions,
        }

    def translated(self, function, what):
        try:
            return getattr(Translator(self.functions, function), what)()
        except Untranslatable:
            return None

    def condition(self, condition, call):
        made_by = getattr(condition, "__qualname__", "") if getattr(condition, "__module__", "") == "flow.project" else ""
        if made_by == "_condition.isfile.<locals>._isfile":
            return {"kind": "file", "name": closure(condition)["filename"]}
        if made_by == "_condition.true.<locals>._document":
            return {"kind": "true", "key": closure(condition)["key"]}
        if made_by == "_condition.false.<locals>._no_document":
            return {"kind": "false", "key": closure(condition)["key"]}
        if made_by == "_condition.never.<locals>.<lambda>":
            return {"kind": "never"}
        if made_by == "_condition.not_.<locals>._not":
            of = self.condition(closure(condition)["condition"], "")
            if of["kind"] != "python" or of["call"]:
                return {"kind": "not", "of": of}
        if hasattr(condition, "_sweepfs_of"):
            what, functions = condition._sweepfs_of
            if what == "after" and all(function in self.names for function in functions):
                return {"kind": "after", "operations": [self.names[function] for function in functions]}
        if hasattr(condition, "_composed_of"):
            composed = [self.condition(part, f"{call}._composed_of[{i}]") for i, part in enumerate(condition._composed_of)]
            return {"kind": "all", "of": composed}
        text = self.translated(condition, "condition")
        if text is not None:
            return {"kind": "filter", "text": text}
        name = getattr(condition, "__name__", "")
        if name.isidentifier() and getattr(self.module, name, None) is condition:
            call = f"m.{name}"
        return {"kind": "python", "name": name or repr(condition), "call": call}

    def directive(self, value):
        if isinstance(value, datetime.timedelta):
            return {"seconds": value.total_seconds()}
        if value is None or type(value) in LITERALS:
            return {"value": value}
        if callable(value):
            try:
                translator = Translator(self.functions, value)
                return {"template": translator.outermost(translator.node)}
            except Untranslatable:
                return {"python": getattr(value, "__name__", repr(value))}
        return {"python": repr(value)}

    def aggregator(self, aggregator):
        if aggregator._is_default_aggregator:
            return None
        function = aggregator._aggregator_function
        made_by = function.__qualname__ if function.__module__ == "flow.aggregates" else ""
        description = {"sort": aggregator._sort_by, "reverse": not aggregator._sort_ascending, "opaque": []}
        if callable(aggregator._sort_by):
            description["sort"] = None
            description["opaque"].append("sort_by")
        if aggregator._select is not None:
            description["where"] = self.translated(aggregator._select, "condition")
            if description["where"] is None:
                description["opaque"].append("select")
        if made_by == "aggregator.groupsof.<locals>.aggregator_function":
            return {**description, "size": closure(function)["num"]}
        if made_by == "aggregator.__init__.<locals>.aggregator_function":
            return {**description, "all": True}
        if made_by == "aggregator.groupby.<locals>.aggregator_function":
            keyed = closure(function)["keyfunction"]
            if getattr(keyed, "__module__", "") == "flow.aggregates":
                inside = closure(keyed)
                keys = inside["keys"] if "keys" in inside else [inside["key"]]
                if "default" in inside or "default_value" in inside:
                    description["default"] = repr(inside.get("default"))
                return {**description, "by": list(keys)}
        return {**description, "opaque": description["opaque"] + ["aggregator"]}

    def groups(self):
        groups = []
        for parent in self.cls.__mro__:
            for entry in getattr(parent, "_GROUPS", []):
                if entry.name not in self.names.values():
                    members = [n for f, n in self.names.items() if entry.name in getattr(f, "_flow_groups", {}).get(parent, ())]
                    options = {"submit_options": entry.submit_options, "run_options": entry.run_options}
                    options = {key: value for key, value in options.items() if value}
                    if entry.group_aggregator is not None and not entry.group_aggregator._is_default_aggregator:
                        options["group_aggregator"] = "an aggregator"
                    groups.append({"name": entry.name, "operations": members, "options": options})
        return groups

    def labels(self):
        labels = []
        for parent in self.cls.__mro__:
            for function, name in getattr(parent, "_LABEL_FUNCTIONS", {}).items():
                labels.append((name or function.__name__, function))
        for name, function in inspect.getmembers(self.cls, lambda f: inspect.ismethod(f) or inspect.isfunction(f)):
            function = getattr(function, "__func__", function)
            if getattr(function, "_label", False):
                labels.append((getattr(function, "_label_name", None) or name, function))
        return [{"name": name, "filter": self.translated(function, "condition")} for name, function in labels]


def remember_arguments(flow_project):
    """Has conditions made of those of operations remember the operations."""
    original = flow_project._create_all_metacondition

    def remembering(conditions, *functions):
        made = original(conditions, *functions)
        made._sweepfs_of = (sys._getframe(1).f_code.co_name, functions)
        return made

    flow_project._create_all_metacondition = remembering


def main():
    path = os.path.realpath(sys.argv[1])
    sys.dont_write_bytecode = True
    sys.path[0] = os.path.dirname(path)
    name = os.path.splitext(os.path.basename(path))[0]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            import flow.project
        except ImportError:
            sys.exit("it has no signac-flow")
        remember_arguments(flow.project)
        module = importlib.import_module(name)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, flow.project.FlowProject) and value._collect_operations()
    ]
    # That of which no other is derived, and which was defined last.
    leaves = [cls for cls in classes if not any(other is not cls and issubclass(other, cls) for other in classes)]
    if not leaves:
        sys.exit("it defines no operations")
    description = Description(module, leaves[-1], path).describe()
    print(json.dumps({"module": name, **description}))


main()
