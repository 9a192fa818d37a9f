"""The student behind an inference server: started and supervised, or given by URL; its weights renewed."""
