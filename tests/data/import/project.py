"""A project with all that can be imported, and what cannot."""
import datetime
import os

from flow import FlowProject, aggregator

LIMIT = 20


class Project(FlowProject):
    pass


pipeline = Project.make_group("pipeline")
other = Project.make_group("other", submit_options="--num-passes=2")


@Project.label
def is_far(job):
    return job.doc.get("distance", 0) > 100


@Project.label("long name")
def long_name(job):
    total = sum(job.sp.values())
    return total > 3


@Project.label
def small(job):
    return job.sp.angle <= LIMIT and not job.doc.get("failed", False)


def has_room(job):
    letters = len(job.id)
    return letters > 3


@pipeline
@Project.post.isfile("prepared.txt")
@Project.operation(cmd=True, with_job=True)
def prepare(job):
    return f"echo {job.sp.angle} > prepared.txt"


@pipeline
@Project.pre.after(prepare)
@Project.pre(lambda job: job.sp.angle > 5 and "note" in job.sp)
@Project.pre(has_room)
@Project.post.isfile("out[1].txt")
@Project.post.true("distance")
@Project.post.false("failed")
@Project.operation(directives={"np": 4, "omp_num_threads": 0, "ngpu": 1, "memory": "512m", "walltime": 1.5, "custom": 3})
def simulate(job):
    job.doc.distance = job.sp.angle * 2.0
    open(job.fn("out[1].txt"), "w").close()


@Project.pre.copy_from(simulate)
@Project.pre.not_(has_room)
@Project.post.never
@Project.operation("odd name", directives={"nranks": lambda job: job.sp.angle * 2, "omp_num_threads": 2, "walltime": datetime.timedelta(minutes=90), "memory": 4, "fork": True})
def odd(job):
    pass


@Project.pre.after(simulate)
@Project.post(lambda *jobs: os.path.exists("average.txt"))
@Project.operation(aggregator=aggregator.groupby("note", sort_by="angle", sort_ascending=False, select=lambda job: job.sp.angle != 20))
def average(*jobs):
    open("average.txt", "w").write(str(len(jobs)))


@other
@Project.pre.after(prepare)
@Project.post.copy_from(prepare)
@Project.operation(cmd=True, aggregator=aggregator.groupsof(2))
def pairs(*jobs):
    return "echo " + " ".join(str(job) for job in jobs)


@Project.pre.after(pairs)
@Project.pre.copy_from(average)
@Project.operation_hooks.on_success(lambda name, job: None)
@Project.operation(cmd=True, aggregator=aggregator())
def everything(*jobs):
    return "echo {{ not a template }}"


if __name__ == "__main__":
    Project().main()
