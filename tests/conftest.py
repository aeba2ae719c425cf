from tiny_models import items, stranger, student, teacher

__all__ = ["items", "stranger", "student", "teacher"]
