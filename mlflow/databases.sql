-- Beside `catalog`, which POSTGRES_DB makes; run once, on an empty volume.
CREATE DATABASE studies;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_users;
CREATE DATABASE prefect;
