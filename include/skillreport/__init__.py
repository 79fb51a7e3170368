"""The batches of the skill report SaaS, without Airflow. ``include`` itself is a namespace: other teams have folders of their own in it."""
